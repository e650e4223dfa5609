"""Modules that are of no use without a network. This file is for both sides: the guest's driver begins with it."""

NETWORK = frozenset(
    "_ssl ssl requests urllib3 httpx httpcore aiohttp websocket websockets paramiko boto3 botocore pycurl grpc".split()
)

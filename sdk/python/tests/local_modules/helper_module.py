"""A module of the buyer's own."""

import math

from farm import crops

FACTOR = 3


def scaled(x):
    return math.floor(x * FACTOR) + crops.yield_of(x)


class Basket:
    def __init__(self, weight):
        self.weight = weight

from . import soil


def yield_of(x):
    return x + soil.DEPTH

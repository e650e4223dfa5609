"""Work as Python programs have it, for factors.sh: numbers, strings and dictionaries, objects."""


def numbers(rounds):
    x, total = 0.5, 0.0
    for i in range(rounds):
        x = 3.7 * x * (1.0 - x)
        total += x if i & 1 else -x
    return round(total, 6)


def strings(rounds):
    counts = {}
    for i in range(rounds):
        word = "w" + str(i * 7919 % 1009)
        counts[word] = counts.get(word, 0) + 1
    lines = [f"{word}={count}" for word, count in sorted(counts.items())]
    return len(" ".join(lines).split("="))


class Node:
    def __init__(self, left, right, value):
        self.left, self.right, self.value = left, right, value

    def sum(self):
        left = self.left.sum() if self.left else 0
        right = self.right.sum() if self.right else 0
        return self.value + left + right


def tree(depth):
    if depth == 0:
        return Node(None, None, 1)
    return Node(tree(depth - 1), tree(depth - 1), depth)


print(numbers(3_000_000), strings(1_000_000), tree(17).sum(), sum(tree(10).sum() for _ in range(60)))

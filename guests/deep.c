// deep: recursion with live values in every frame.
//
//   deep          the same as deep 8000 60
//   deep D R      walks R times down to depth D and up again, each frame holding integers and
//                 floats of its own across the calls; then Ackermann(2, 200) (depth about 400),
//                 and a walk over an unbalanced tree of D nodes. D up to 20000.
//
// Prints a line for each part. The same for the same arguments.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// Everything computed before the call is used after it, so all of it is live across it.
__attribute__((noinline)) static uint64_t walk(int depth, uint64_t seed, double weight) {
    uint64_t a = seed * 6364136223846793005u + 1442695040888963407u;
    uint32_t b = (uint32_t)(a >> 33);
    double c = weight * 0.75 + (double)(b & 1023) / 1024;
    float d = (float)c + (float)depth;
    if (depth == 0) return a;
    uint64_t below = walk(depth - 1, a ^ b, c);
    return below * 31 + (a ^ (uint64_t)b << 7) + (uint64_t)(c * 1000) + (uint64_t)(d * 16);
}

__attribute__((noinline)) static unsigned ackermann(unsigned m, unsigned n) {
    if (m == 0) return n + 1;
    if (n == 0) return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

typedef struct Node {
    struct Node *left, *right;
    uint64_t key;
} Node;

// Mostly to one side, so that the tree is deep.
static Node *grow(int count) {
    Node *nodes = calloc((size_t)count, sizeof(Node));
    if (!nodes) exit(1);
    uint64_t random = 12345;
    Node *at = nodes;
    at->key = 1;
    for (int i = 1; i < count; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        nodes[i].key = random >> 40;
        if (random >> 60 == 0 && !at->right) at->right = &nodes[i];
        else if (!at->left) at = at->left = &nodes[i];
        else at = at->right ? (at->right->left = &nodes[i]) : (at->right = &nodes[i]);
    }
    return nodes;
}

static uint64_t sum(const Node *node, int depth, int *deepest) {
    if (!node) return 0;
    if (depth > *deepest) *deepest = depth;
    uint64_t left = sum(node->left, depth + 1, deepest);
    uint64_t right = sum(node->right, depth + 1, deepest);
    return node->key + left * 3 + right * 5 + (uint64_t)depth;
}

int main(int argc, char **argv) {
    int depth = argc > 1 ? atoi(argv[1]) : 8000;
    int rounds = argc > 2 ? atoi(argv[2]) : 60;
    if (depth < 1 || depth > 20000 || rounds < 1) {
        fprintf(stderr, "deep: give a depth from 1 to 20000 and a number of rounds\n");
        return 2;
    }
    uint64_t total = 0;
    for (int i = 0; i < rounds; i++) total += walk(depth, (uint64_t)i, i / 3.0);
    printf("walk %d x %d: %016llx\n", depth, rounds, (unsigned long long)total);
    printf("ackermann(2, 200) = %u\n", ackermann(2, 200));
    int deepest = 0;
    uint64_t keys = sum(grow(depth), 1, &deepest);
    printf("tree of %d, %d deep: %016llx\n", depth, deepest, (unsigned long long)keys);
    return 0;
}

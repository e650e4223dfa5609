// nbody: floating point in registers and memory: the Sun and the outer planets (Jovian bodies as
// in the Computer Language Benchmarks Game).
//
//   nbody        the same as nbody 200000
//   nbody N      N steps of 0.01 days; prints the energy before and after.

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DAYS 365.24
#define SUN (4 * M_PI * M_PI)

typedef struct {
    double x[3], v[3], mass;
} Body;

static Body bodies[5] = {
    {{0, 0, 0}, {0, 0, 0}, SUN},
    {{4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01},
     {1.66007664274403694e-03 * DAYS, 7.69901118419740425e-03 * DAYS, -6.90460016972063023e-05 * DAYS},
     9.54791938424326609e-04 * SUN},
    {{8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01},
     {-2.76742510726411861e-03 * DAYS, 4.99852801234917238e-03 * DAYS, 2.30417297573763929e-05 * DAYS},
     2.85885980666130812e-04 * SUN},
    {{1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01},
     {2.96460137564761618e-03 * DAYS, 2.37847173959480950e-03 * DAYS, -2.96589568540237556e-05 * DAYS},
     4.36624404335156298e-05 * SUN},
    {{1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01},
     {2.68067772490389322e-03 * DAYS, 1.62824170038242295e-03 * DAYS, -9.51592254519715870e-05 * DAYS},
     5.15138902046611451e-05 * SUN},
};

static double energy(void) {
    double sum = 0;
    for (int i = 0; i < 5; i++) {
        const Body *a = &bodies[i];
        sum += 0.5 * a->mass * (a->v[0] * a->v[0] + a->v[1] * a->v[1] + a->v[2] * a->v[2]);
        for (int j = i + 1; j < 5; j++) {
            const Body *b = &bodies[j];
            double x = a->x[0] - b->x[0], y = a->x[1] - b->x[1], z = a->x[2] - b->x[2];
            sum -= a->mass * b->mass / sqrt(x * x + y * y + z * z);
        }
    }
    return sum;
}

static void advance(double dt) {
    for (int i = 0; i < 5; i++) {
        Body *a = &bodies[i];
        for (int j = i + 1; j < 5; j++) {
            Body *b = &bodies[j];
            double x = a->x[0] - b->x[0], y = a->x[1] - b->x[1], z = a->x[2] - b->x[2];
            double square = x * x + y * y + z * z;
            double force = dt / (square * sqrt(square));
            a->v[0] -= x * b->mass * force, b->v[0] += x * a->mass * force;
            a->v[1] -= y * b->mass * force, b->v[1] += y * a->mass * force;
            a->v[2] -= z * b->mass * force, b->v[2] += z * a->mass * force;
        }
    }
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++) bodies[i].x[k] += dt * bodies[i].v[k];
}

int main(int argc, char **argv) {
    int steps = argc > 1 ? atoi(argv[1]) : 200000;
    if (steps < 0) {
        fprintf(stderr, "nbody: give a number of steps\n");
        return 2;
    }
    for (int k = 0; k < 3; k++) {
        double momentum = 0;
        for (int i = 0; i < 5; i++) momentum += bodies[i].v[k] * bodies[i].mass;
        bodies[0].v[k] = -momentum / SUN;
    }
    printf("%.9f\n", energy());
    for (int i = 0; i < steps; i++) advance(0.01);
    printf("%.9f\n", energy());
    return 0;
}

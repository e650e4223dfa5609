// Exceptions: of several types, through frames with destructors, caught, thrown on, thrown anew.
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>
struct Noisy { int *count; ~Noisy() { ++*count; } };
struct Code : std::runtime_error { int code; Code(int c) : std::runtime_error("code " + std::to_string(c)), code(c) {} };
static int destroyed = 0;
static int deep(int n, int seed) {
    Noisy noisy{&destroyed};
    if (n == 0) {
        switch (seed % 4) {
            case 0: throw Code(seed);
            case 1: throw std::string("text ") + std::to_string(seed);
            case 2: throw seed;
            default: return seed;
        }
    }
    try { return deep(n - 1, seed) + 1; }
    catch (int value) { if (n % 5) throw; return -value; }
}
int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 20000;
    long sum = 0; size_t text = 0;
    for (int i = 0; i < rounds; i++) {
        try { sum += deep(i % 13, i); }
        catch (const Code &error) { sum += error.code * 2; text += std::string(error.what()).size(); }
        catch (const std::string &word) { text += word.size(); }
        catch (...) { sum += 1000000; }
    }
    std::vector<int> few(3);
    try { few.at(9) = 1; } catch (const std::out_of_range &) { printf("out of range\n"); }
    printf("%ld %zu %d\n", sum, text, destroyed);
    try { try { throw 1; } catch (...) { throw Code(7); } } catch (const std::exception &e) { printf("%s\n", e.what()); }
}

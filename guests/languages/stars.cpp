// C++: containers, virtual calls, templates, closures, strings of the standard library.
// A galaxy of objects is simulated, indexed, sorted and summed up.
//
//   stars [how many]

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace {

struct Body {
    explicit Body(std::string name) : name(std::move(name)) {}
    virtual ~Body() { alive--; }
    Body(const Body &) = delete;
    virtual double brightness(double age) const = 0;
    virtual const char *kind() const = 0;
    const std::string name;
    static inline int alive = 0;
};

struct Dwarf : Body {
    Dwarf(std::string name, double mass) : Body(std::move(name)), mass(mass) { alive++; }
    double brightness(double age) const override { return mass * mass / (1 + age); }
    const char *kind() const override { return "dwarf"; }
    double mass;
};

struct Pulsar : Body {
    Pulsar(std::string name, int period) : Body(std::move(name)), period(period) { alive++; }
    double brightness(double age) const override {
        return static_cast<std::int64_t>(age * 1000) % period == 0 ? 100.0 : 0.125;
    }
    const char *kind() const override { return "pulsar"; }
    int period;
};

struct Binary : Body {
    Binary(std::string name, std::shared_ptr<Body> a, std::shared_ptr<Body> b)
        : Body(std::move(name)), a(std::move(a)), b(std::move(b)) { alive++; }
    double brightness(double age) const override {
        return a->brightness(age) + b->brightness(age / 2);
    }
    const char *kind() const override { return "binary"; }
    std::shared_ptr<Body> a, b;
};

using Value = std::variant<int, double, std::string>;

std::string show(const Value &value) {
    struct Show {
        std::string operator()(int inner) const { return std::to_string(inner); }
        std::string operator()(double inner) const { return std::to_string(inner); }
        std::string operator()(const std::string &inner) const { return inner; }
    };
    return std::visit(Show{}, value);
}

template <typename T> class Ring {
  public:
    explicit Ring(std::size_t size) : slots(size) {}
    void push(T value) { slots[next++ % slots.size()] = std::move(value); }
    T sum() const { return std::accumulate(slots.begin(), slots.end(), T{}); }

  private:
    std::vector<T> slots;
    std::size_t next = 0;
};

// Dijkstra over the bodies, joined when their numbers differ by a small prime.
std::vector<std::uint32_t> distances(std::size_t count) {
    constexpr std::array<std::size_t, 5> steps{2, 3, 5, 7, 11};
    std::vector<std::uint32_t> best(count, UINT32_MAX);
    using Entry = std::pair<std::uint32_t, std::size_t>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> open;
    open.emplace(best[0] = 0, 0);
    while (!open.empty()) {
        auto [far, at] = open.top();
        open.pop();
        if (far > best[at]) continue;
        for (auto step : steps) {
            auto to = (at + step * step) % count;
            auto cost = far + static_cast<std::uint32_t>((at * 31 + step) % 17 + 1);
            if (cost < best[to]) open.emplace(best[to] = cost, to);
        }
    }
    return best;
}

} // namespace

int main(int argc, char **argv) {
    const int count = argc > 1 ? std::atoi(argv[1]) : 4000;
    std::mt19937_64 random(42);
    std::map<std::string, std::vector<std::shared_ptr<Body>>> by_kind;
    std::unordered_map<std::string, std::weak_ptr<Body>> by_name;
    std::deque<std::shared_ptr<Body>> recent;
    {
        std::vector<std::shared_ptr<Body>> all;
        for (int i = 0; i < count; i++) {
            std::string name = "star " + std::to_string(i);
            std::shared_ptr<Body> body;
            switch (random() % 3) {
            case 0: body = std::make_shared<Dwarf>(name, double(random() % 1000) / 64); break;
            case 1: body = std::make_shared<Pulsar>(name, int(random() % 97) + 3); break;
            default:
                if (all.size() < 2) body = std::make_shared<Dwarf>(name, 1.5);
                else body = std::make_shared<Binary>(name, all[random() % all.size()],
                                                     all[random() % all.size()]);
            }
            all.push_back(body);
            by_kind[body->kind()].push_back(body);
            by_name[name] = body;
            recent.push_back(body);
            if (recent.size() > 100) recent.pop_front();
        }
        for (auto &[kind, bodies] : by_kind) {
            std::sort(bodies.begin(), bodies.end(), [](const auto &a, const auto &b) {
                auto left = a->brightness(7.25), right = b->brightness(7.25);
                return left != right ? left > right : a->name < b->name;
            });
            double sum = 0;
            for (int age = 0; age < 40; age++)
                for (const auto &body : bodies) sum += body->brightness(age / 8.0);
            std::printf("%s %zu %.3f brightest %s\n", kind.c_str(), bodies.size(), sum,
                        bodies.front()->name.c_str());
        }
    }
    by_kind.clear();
    auto gone = std::count_if(by_name.begin(), by_name.end(),
                              [](const auto &entry) { return entry.second.expired(); });
    std::printf("gone %d alive %d\n", int(gone), Body::alive);
    recent.clear();
    std::printf("alive %d\n", Body::alive);

    auto far = distances(static_cast<std::size_t>(count) * 4);
    std::printf("farthest %u sum %llu\n", *std::max_element(far.begin(), far.end()),
                static_cast<unsigned long long>(
                    std::accumulate(far.begin(), far.end(), std::uint64_t{0})));

    Ring<std::string> ring(5);
    std::list<std::function<std::string(int)>> makers;
    for (int i = 1; i <= 9; i++)
        makers.emplace_back([i, text = std::string(i, 'a' + i)](int n) {
            return text + std::to_string(n * i);
        });
    for (auto &make : makers) ring.push(make(3));
    std::printf("ring %s\n", ring.sum().c_str());

    std::set<std::string> words;
    std::string_view text = "the quick brown fox jumps over the lazy dog the end";
    for (std::size_t at = 0; at < text.size();) {
        auto end = std::min(text.find(' ', at), text.size());
        words.emplace(text.substr(at, end - at));
        at = end + 1;
    }
    std::vector<Value> values{1, 2.5, std::string("three")};
    for (const auto &word : words) std::printf("%s ", word.c_str());
    for (const auto &value : values) std::printf("%s ", show(value).c_str());
    std::optional<int> none;
    std::printf("%d\n", none.value_or(-1));
    return 0;
}

// JavaScript, run by QuickJS: closures, classes, generators, regular expressions, JSON, maps,
// big integers, typed arrays, exceptions, promises.

const log = (...values) => console.log(values.join(" "));

function* primes() {
  const composite = new Map();
  for (let n = 2; ; n++) {
    const factors = composite.get(n);
    if (!factors) {
      yield n;
      composite.set(n * n, [n]);
    } else {
      for (const p of factors) composite.set(n + p, [...(composite.get(n + p) ?? []), p]);
      composite.delete(n);
    }
  }
}
let last, count = 0;
for (const prime of primes()) {
  last = prime;
  if (++count === 1500) break;
}
log("prime", count, last);

class Matrix {
  #rows;
  constructor(rows) { this.#rows = rows; }
  times(other) {
    return new Matrix(this.#rows.map((row) =>
      other.#rows[0].map((_, j) => row.reduce((sum, x, k) => sum + x * other.#rows[k][j], 0n))));
  }
  power(n) {
    if (n === 1) return this;
    const half = this.power(n >> 1);
    return n & 1 ? half.times(half).times(this) : half.times(half);
  }
  get corner() { return this.#rows[0][1]; }
}
const fib = new Matrix([[1n, 1n], [1n, 0n]]).power(3000).corner;
log("fib", String(fib).length, String(fib % 1000000007n));

const counters = Array.from({ length: 5 }, (_, i) => { let n = i; return () => (n += i); });
for (let i = 0; i < 1000; i++) counters.forEach((next) => next());
log("counters", counters.map((next) => next()));

const text = "2026-01-02 error: disk full; 2026-03-04 warning: hot; 2026-05-06 error: gone";
const found = [...text.matchAll(/(?<date>\d{4}-\d{2}-\d{2}) (?<level>\w+): (?<what>[^;]+)/gu)];
log(JSON.stringify(found.map(({ groups }) => ({ ...groups }))));
log("aaa".replace(/a/g, (m, at) => m + at), /^(a+)+$/.test("a".repeat(16) + "!"));

const tree = (depth) => depth ? { left: tree(depth - 1), right: tree(depth - 1), depth } : null;
const copy = JSON.parse(JSON.stringify(tree(11)));
const size = (node) => node ? 1 + size(node.left) + size(node.right) : 0;
log("tree", size(copy), JSON.stringify(copy).length);

const ackermann = (m, n) => m === 0 ? n + 1 : ackermann(m - 1, n === 0 ? 1 : ackermann(m, n - 1));
try {
  null.x;
} catch (error) {
  log(error instanceof TypeError, ackermann(2, 30));
}

const floats = new Float64Array(4096).map((_, i) => Math.sin(i) * Math.sqrt(i));
log("floats", floats.reduce((a, b) => a + b, 0), Math.max(...floats.slice(0, 100)));

const words = {};
for (let i = 0; i < 20000; i++) {
  const word = ((i * 2654435761) >>> 20).toString(36);
  words[word] = (words[word] ?? 0) + 1;
}
log("words", Object.keys(words).length, Object.entries(words).sort().slice(0, 3));

Promise.resolve(1)
  .then((x) => { throw new RangeError("thrown " + x); })
  .catch((error) => log(error.name, error.message, new Date(0).toISOString()));

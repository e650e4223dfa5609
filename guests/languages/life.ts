// AssemblyScript: classes, generics, maps, strings, arrays, its own garbage collector.
//
//   life [rounds]

abstract class Shape {
  constructor(public name: string) {}
  abstract area(): f64;
}

class Circle extends Shape {
  constructor(name: string, private radius: f64) {
    super(name);
  }
  area(): f64 {
    return Math.PI * this.radius * this.radius;
  }
}

class Square extends Shape {
  constructor(name: string, private side: f64) {
    super(name);
  }
  area(): f64 {
    return this.side * this.side;
  }
}

class Life {
  cells: StaticArray<u8>;
  constructor(private side: i32) {
    this.cells = new StaticArray<u8>(side * side);
  }
  step(): void {
    const next = new StaticArray<u8>(this.side * this.side);
    for (let y = 0; y < this.side; y++) {
      for (let x = 0; x < this.side; x++) {
        let around = 0;
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++) {
            if (dx == 0 && dy == 0) continue;
            const row = (y + dy + this.side) % this.side;
            const column = (x + dx + this.side) % this.side;
            around += this.cells[row * this.side + column];
          }
        }
        const alive = this.cells[y * this.side + x];
        next[y * this.side + x] = around == 3 || (alive == 1 && around == 2) ? 1 : 0;
      }
    }
    this.cells = next;
  }
  count(): i32 {
    let sum = 0;
    for (let i = 0; i < this.cells.length; i++) sum += this.cells[i];
    return sum;
  }
}

const rounds = process.argv.length > 1 ? I32.parseInt(process.argv[1]) : 60;
const life = new Life(48);
let state: u32 = 1;
for (let i = 0; i < life.cells.length; i++) {
  state = state * 1664525 + 1013904223;
  life.cells[i] = <u8>(state >> 31);
}
const history = new Map<i32, i32>();
for (let round = 0; round < rounds; round++) {
  life.step();
  const count = life.count();
  history.set(count, (history.has(count) ? history.get(count) : 0) + 1);
}
console.log("alive " + life.count().toString() + " different " + history.size.toString());

const shapes: Shape[] = [];
for (let i = 0; i < rounds * 50; i++) {
  if (i % 3 == 0) shapes.push(new Circle("circle " + i.toString(), <f64>i / 10));
  else shapes.push(new Square("square " + i.toString(), <f64>(i % 50)));
}
shapes.sort((a, b) => {
  const difference = b.area() - a.area();
  return difference > 0 ? 1 : difference < 0 ? -1 : a.name < b.name ? -1 : 1;
});
console.log(shapes[0].name + " " + shapes[0].area().toString());
console.log(shapes[shapes.length - 1].name + " " + shapes[shapes.length - 1].area().toString());

const words = new Map<string, i32>();
let text = "";
for (let i = 0; i < 2000; i++) {
  text += String.fromCharCode(97 + i % 7) + (i % 5 == 0 ? " " : "");
}
const parts = text.split(" ");
for (let i = 0; i < parts.length; i++) {
  const word = parts[i].trim();
  words.set(word, (words.has(word) ? words.get(word) : 0) + 1);
}
const keys = words.keys().sort();
console.log(keys.join(",") + " " + words.get(keys[0]).toString());
const random = Math.random();
console.log(random >= 0 && random < 1 ? "random" : "broken");
console.log(new Date(Date.now()).toISOString().substring(0, 10));

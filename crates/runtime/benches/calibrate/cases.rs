//! The worst cases: programs that take as much time per fuel as anybody could think of. Each is
//! a setup that isn't measured and a body that is run so many times.

/// A program that runs its body again and again.
pub struct Case {
    pub name: &'static str,
    /// Pages of memory.
    pub pages: u32,
    pub setup: String,
    pub body: String,
    /// How often the body is run in the shorter of the two runs.
    pub turns: u64,
    /// Functions, globals and tables beside `_start`.
    pub beside: String,
}

impl Case {
    /// The program with so many turns.
    pub fn program(&self, turns: u64) -> String {
        let Case { pages, setup, body, beside, .. } = self;
        format!(
            r#"(module {IMPORTS} (memory {pages} 65536) {beside}
              (func (export "_start")
                (local $i i64) (local $a i32) (local $b i32) (local $x i64) (local $y i64)
                (local $f f64) (local $g f64) (local $s f32) (local $v v128) (local $w v128)
                {setup}
                (local.set $i (i64.const 0))
                (loop $l {body}
                  (local.set $i (i64.add (local.get $i) (i64.const 1)))
                  (br_if $l (i64.lt_u (local.get $i) (i64.const {turns}))))
                ;; What was computed is looked at, so that none of it may be left out.
                (i32.store (i32.const 0) (local.get $a)) (i64.store (i32.const 8) (local.get $x))
                (f64.store (i32.const 16) (local.get $f)) (v128.store (i32.const 32) (local.get $v))
                (f32.store (i32.const 24) (local.get $s))))"#
        )
    }
}

const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $filestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $resize (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))"#;

fn case(name: &'static str, turns: u64, body: &str) -> Case {
    Case {
        name,
        pages: 32,
        setup: String::new(),
        body: body.to_owned(),
        turns,
        beside: String::new(),
    }
}

/// The same instruction sixteen times: the loop around it hardly counts.
fn instruction(name: &'static str, setup: &str, body: &str) -> Case {
    Case { setup: setup.to_owned(), ..case(name, 3_000_000, &body.repeat(16)) }
}

/// A file `/out/f`, whose descriptor is at 64, a buffer for it at 256 (address 65536, and its
/// length at 260), and `/out/d` at 512.
const FILE: &str = r#"
  (i64.store (i32.const 128) (i64.const 0x662f74756f)) ;; out/f
  (i64.store (i32.const 512) (i64.const 0x642f74756f)) ;; out/d
  (i32.store (i32.const 256) (i32.const 65536))
  (drop (call $open (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 5) (i32.const 1)
    (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 64)))"#;

fn host(name: &'static str, turns: u64, setup: &str, call: &str) -> Case {
    Case { setup: format!("{FILE} {setup}"), ..case(name, turns, &format!("(drop {call})")) }
}

/// All of them.
pub fn all() -> Vec<Case> {
    [memory(), bulk(), control(), arithmetic(), host_calls()].into_iter().flatten().collect()
}

fn memory() -> Vec<Case> {
    // Each line of 64 bytes leads to the next one of a permutation of all of them.
    let chain = |lines: u64| {
        format!(
            "(loop $s
               (i32.store (i32.shl (local.get $a) (i32.const 6))
                 (i32.shl (i32.and (i32.add (i32.mul (local.get $a) (i32.const 1664525))
                   (i32.const 1013904223)) (i32.const {mask})) (i32.const 6)))
               (local.set $a (i32.add (local.get $a) (i32.const 1)))
               (br_if $s (i32.lt_u (local.get $a) (i32.const {lines}))))
             (local.set $a (i32.const 0))",
            mask = lines - 1
        )
    };
    let follow = "(local.set $a (i32.load (local.get $a)))".repeat(16);
    vec![
        Case { pages: 32, setup: chain(1 << 8), ..case("chase, 16 KiB", 3_000_000, &follow) },
        Case { pages: 512, setup: chain(1 << 18), ..case("chase, 16 MiB", 300_000, &follow) },
        Case { pages: 8192, setup: chain(1 << 23), ..case("chase, 512 MiB", 150_000, &follow) },
        Case {
            pages: 16_384,
            ..case(
                "first touch of a page",
                65_536,
                "(i32.store8 (i32.mul (i32.wrap_i64 (local.get $i)) (i32.const 4096)) (i32.const 1))",
            )
        },
        Case {
            pages: 16_384,
            setup: "(local.set $a (i32.const 0))".to_owned(),
            ..case(
                "first touch by bulk fill",
                4096,
                "(memory.fill (i32.mul (i32.wrap_i64 (local.get $i)) (i32.const 65536)) (i32.const 1)
                   (i32.const 65536))",
            )
        },
        Case { pages: 1, ..case("memory.grow by a page", 4096, "(drop (memory.grow (i32.const 1)))") },
        Case {
            pages: 1,
            ..case(
                "memory.grow and a touch of each page",
                2048,
                &format!(
                    "(local.set $a (i32.mul (memory.grow (i32.const 1)) (i32.const 65536))) {}",
                    "(i32.store (local.get $a) (i32.const 1))
                     (local.set $a (i32.add (local.get $a) (i32.const 4096)))"
                        .repeat(16)
                ),
            )
        },
        case("memory.grow by nothing", 300_000, "(drop (memory.grow (i32.const 0)))"),
        case("memory.grow past the limit", 300_000, "(drop (memory.grow (i32.const 65000)))"),
        instruction(
            "loads across cache lines",
            "",
            "(local.set $x (i64.add (local.get $x)
               (i64.load (i32.add (i32.and (i32.wrap_i64 (local.get $x)) (i32.const 64)) (i32.const 61)))))",
        ),
        instruction(
            "a store, then a wider load of it",
            "",
            "(i32.store (i32.const 4) (i32.wrap_i64 (local.get $x)))
             (local.set $x (i64.load (i32.const 2)))",
        ),
    ]
}

fn bulk() -> Vec<Case> {
    let fill =
        |length: u32| format!("(memory.fill (i32.const 65536) (i32.const 7) (i32.const {length}))");
    let copy = |from: u32, length: u32| {
        format!("(memory.copy (i32.const 65536) (i32.const {from}) (i32.const {length}))")
    };
    let large = 64 << 20;
    vec![
        case("memory.fill, 0 bytes", 3_000_000, &fill(0)),
        case(
            "memory.fill, 0 or 1 bytes",
            1_000_000,
            "(memory.fill (i32.const 65536) (i32.const 7) (i32.wrap_i64 (i64.and (local.get $i) (i64.const 1))))",
        ),
        case("memory.fill, 1 KiB", 1_000_000, &fill(1024)),
        Case { pages: 2100, ..case("memory.fill, 64 MiB", 8, &fill(large)) },
        case("memory.copy, 0 bytes", 3_000_000, &copy(0, 0)),
        case("memory.copy, 15 bytes", 3_000_000, &copy(3, 15)),
        case(
            "memory.copy, 0 or 1 bytes",
            1_000_000,
            "(memory.copy (i32.const 65536) (i32.const 7) (i32.wrap_i64 (i64.and (local.get $i) (i64.const 1))))",
        ),
        Case { pages: 2100, ..case("memory.copy, 64 MiB", 8, &copy(65536 + large, large)) },
        Case { pages: 2100, ..case("memory.copy, 64 MiB, overlapping", 8, &copy(65535, large)) },
    ]
}

/// A step of a random sequence that no predictor knows, into `$a`.
const CHANCE: &str =
    "(local.set $x (i64.add (i64.mul (local.get $x) (i64.const 6364136223846793005))
    (i64.const 1442695040888963407)))
  (local.set $a (i32.wrap_i64 (i64.shr_u (local.get $x) (i64.const 60))))";

fn control() -> Vec<Case> {
    let functions: String = (0..16)
        .map(|at| {
            format!(
                "(func $f{at} (param i32) (result i32) (i32.add (local.get 0) (i32.const {at})))"
            )
        })
        .collect();
    let names: String = (0..16).map(|at| format!("$f{at} ")).collect();
    let labels = "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15";
    let blocks = "(block ".repeat(16);
    let ends: String = (0..16)
        .map(|at| format!(") (local.set $b (i32.xor (local.get $b) (i32.const {at})))"))
        .collect();
    let deep = "(func $deep (param $n i32) (param $x i64) (result i64)
        (if (result i64) (local.get $n)
          (then (i64.add (local.get $x) (call $deep (i32.sub (local.get $n) (i32.const 1))
            (i64.add (local.get $x) (i64.const 1)))))
          (else (local.get $x))))
      (func $below (param $n i32) (param $turns i64) (local $i i64)
        (if (local.get $n) (then (call $below (i32.sub (local.get $n) (i32.const 1)) (local.get $turns)) (return)))
        (loop $l (local.set $i (i64.add (local.get $i) (i64.const 1)))
          (br_if $l (i64.lt_u (local.get $i) (local.get $turns)))))";
    vec![
        Case {
            beside: format!(
                "(type $t (func (param i32) (result i32))) (table 16 funcref)
                (elem (i32.const 0) {names}) {functions}"
            ),
            ..case(
                "call_indirect, unpredictable",
                5_000_000,
                &format!(
                    "{CHANCE} (local.set $b (call_indirect (type $t) (local.get $b) (local.get $a)))"
                ),
            )
        },
        case(
            "br_table, unpredictable",
            5_000_000,
            &format!("{CHANCE} {blocks} (br_table {labels} (local.get $a)) {ends}"),
        ),
        case(
            "if, unpredictable",
            5_000_000,
            &format!(
                "{CHANCE} (if (i32.and (local.get $a) (i32.const 1))
                (then (local.set $b (i32.add (local.get $b) (i32.const 3)))))"
            ),
        ),
        Case {
            beside: deep.to_owned(),
            ..case(
                "recursion, 20,000 deep",
                200,
                "(local.set $x (call $deep (i32.const 20000) (local.get $x)))",
            )
        },
        Case {
            beside: deep.to_owned(),
            ..case(
                "a loop below 60,000 frames, unwound each slice",
                4,
                "(call $below (i32.const 60000) (i64.const 100000000))",
            )
        },
    ]
}

fn arithmetic() -> Vec<Case> {
    let odd = "(local.set $x (i64.const 0x7fffffffffffff17)) (local.set $y (i64.const 3))
      (local.set $a (i32.const 0x7fffff17)) (local.set $b (i32.const 3))
      (local.set $f (f64.const 1.234567)) (local.set $g (f64.const 1.0000001))
      (local.set $s (f32.const 1.5)) (local.set $v (v128.const i64x2 0x3ff3c0ca428c1d2b 0x3ff3c0ca428c1d2b))
      (local.set $w (v128.const i64x2 0x3ff0000001ad7f2a 0x3ff0000001ad7f2a))";
    let denormal = "(local.set $f (f64.const 0x1p-1060)) (local.set $g (f64.const 0.75))";
    let born = format!("{odd} (local.set $g (f64.div (f64.const 0) (f64.sub (local.get $f) (local.get $f))))
      (i64.store (i32.const 48) (i64.reinterpret_f64 (local.get $g))) (local.set $g (f64.const 1.0000001))");
    let op = |name, body: &str| instruction(name, odd, body);
    vec![
        op(
            "i32.div_u",
            "(local.set $a (i32.add (i32.div_u (local.get $a) (local.get $b)) (i32.const 0x7fffff00)))",
        ),
        op(
            "i64.div_s",
            "(local.set $x (i64.add (i64.div_s (local.get $x) (local.get $y)) (i64.const 0x5fffffffffffff17)))",
        ),
        op(
            "i64.rem_u",
            "(local.set $x (i64.add (i64.rem_u (local.get $x) (local.get $y)) (i64.const 0x7fffffffffffff17)))",
        ),
        op("i64.mul", "(local.set $x (i64.mul (local.get $x) (local.get $y)))"),
        op(
            "popcnt, clz, ctz",
            "(local.set $x (i64.add (i64.popcnt (local.get $x)) (i64.add (i64.clz (local.get $x)) (i64.ctz (local.get $x)))))",
        ),
        op("f64.add", "(local.set $f (f64.add (local.get $f) (local.get $g)))"),
        op("f64.mul", "(local.set $f (f64.mul (local.get $f) (local.get $g)))"),
        op("f64.div", "(local.set $f (f64.div (local.get $f) (local.get $g)))"),
        op("f64.sqrt", "(local.set $f (f64.add (f64.sqrt (local.get $f)) (local.get $g)))"),
        op(
            "f32.div",
            "(local.set $s (f32.add (f32.div (local.get $s) (f32.const 1.0001)) (f32.const 0.1)))",
        ),
        op("f64.nearest", "(local.set $f (f64.add (f64.nearest (local.get $f)) (local.get $g)))"),
        op(
            "f64.min",
            "(local.set $f (f64.add (f64.min (local.get $f) (local.get $g)) (local.get $g)))",
        ),
        op(
            "i64.trunc_f64_s",
            "(local.set $f (f64.convert_i64_s (i64.trunc_f64_s (local.get $f))))",
        ),
        op(
            "i64.trunc_sat_f64_u",
            "(local.set $f (f64.convert_i64_u (i64.trunc_sat_f64_u (local.get $f))))",
        ),
        instruction(
            "f64.mul, denormal",
            denormal,
            "(local.set $f (f64.add (f64.mul (local.get $f) (local.get $g)) (f64.const 0x1p-1062)))",
        ),
        instruction(
            "f64.add, in the canonical build",
            &born,
            "(local.set $f (f64.add (local.get $f) (local.get $g)))",
        ),
        instruction(
            "f64.mul and min, in the canonical build",
            &born,
            "(local.set $f (f64.min (f64.mul (local.get $f) (local.get $g)) (f64.const 7)))",
        ),
        op("f64x2.div", "(local.set $v (f64x2.div (local.get $v) (local.get $w)))"),
        op("f64x2.sqrt", "(local.set $v (f64x2.add (f64x2.sqrt (local.get $v)) (local.get $w)))"),
        op("f32x4.div", "(local.set $v (f32x4.div (local.get $v) (local.get $w)))"),
        op(
            "f64x2.nearest",
            "(local.set $v (f64x2.add (f64x2.nearest (local.get $v)) (local.get $w)))",
        ),
        op("i64x2.mul", "(local.set $v (i64x2.mul (local.get $v) (local.get $w)))"),
        op(
            "i8x16.popcnt",
            "(local.set $v (i8x16.add (i8x16.popcnt (local.get $v)) (local.get $w)))",
        ),
        op("i8x16.swizzle", "(local.set $v (i8x16.swizzle (local.get $v) (local.get $w)))"),
        op("i8x16.shl", "(local.set $v (i8x16.shl (local.get $v) (i32.const 3)))"),
        op("i64x2.shr_s", "(local.set $v (i64x2.shr_s (local.get $v) (local.get $a)))"),
        op("i32x4.trunc_sat_f32x4_u", "(local.set $v (i32x4.trunc_sat_f32x4_u (local.get $v)))"),
        op(
            "f64x2.pmin and max",
            "(local.set $v (f64x2.max (f64x2.min (local.get $v) (local.get $w)) (local.get $w)))",
        ),
        op(
            "hashing: rotate, xor, multiply",
            "(local.set $x (i64.mul (i64.xor (i64.rotl (local.get $x) (i64.const 13)) (local.get $y)) (i64.const 0x9e3779b97f4a7c15)))",
        ),
        op(
            "hashing: add, rotate, xor",
            "(local.set $a (i32.xor (i32.rotl (i32.add (local.get $a) (local.get $b)) (i32.const 7)) (i32.const 0x5bd1e995)))",
        ),
    ]
}

fn host_calls() -> Vec<Case> {
    let length = |bytes: u32| format!("(i32.store (i32.const 260) (i32.const {bytes}))");
    let fd = "(i32.load (i32.const 64))";
    let pwrite =
        format!("(call $pwrite {fd} (i32.const 256) (i32.const 1) (i64.const 0) (i32.const 96))");
    let pread =
        format!("(call $pread {fd} (i32.const 256) (i32.const 1) (i64.const 0) (i32.const 96))");
    // A path of 100 parts `in/../` that leads back to the root.
    let long = "(loop $s
        (i32.store (i32.add (i32.const 1024) (local.get $a)) (i32.const 0x2e2f6e69))
        (i32.store16 (i32.add (i32.const 1028) (local.get $a)) (i32.const 0x2f2e))
        (local.set $a (i32.add (local.get $a) (i32.const 6)))
        (br_if $s (i32.lt_u (local.get $a) (i32.const 600))))";
    // 1,000 directories in /out: out/d000…
    let many = "(loop $s
        (i32.store (i32.const 516) (i32.add (i32.const 0x61616161) (i32.or (i32.or
          (i32.and (local.get $a) (i32.const 15))
          (i32.shl (i32.and (local.get $a) (i32.const 0xf0)) (i32.const 4)))
          (i32.shl (i32.and (local.get $a) (i32.const 0xf00)) (i32.const 8)))))
        (drop (call $mkdir (i32.const 3) (i32.const 512) (i32.const 8)))
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (br_if $s (i32.lt_u (local.get $a) (i32.const 1000))))
      (drop (call $open (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 3) (i32.const 2)
        (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 0) (i32.const 64)))";
    // 4,096 subscriptions to a clock a microsecond away.
    let subscriptions = "(loop $s
        (i64.store (i32.add (i32.const 262168) (i32.mul (local.get $a) (i32.const 48))) (i64.const 1000))
        (local.set $a (i32.add (local.get $a) (i32.const 1)))
        (br_if $s (i32.lt_u (local.get $a) (i32.const 4096))))";
    let poll = |count: u32| {
        format!(
            "(call $poll (i32.const 262144) (i32.const 1048576) (i32.const {count}) (i32.const 96))"
        )
    };
    vec![
        host("sched_yield", 1_000_000, "", "(call $yield)"),
        host("clock_time_get", 1_000_000, "", "(call $clock (i32.const 0) (i64.const 1) (i32.const 96))"),
        host("random_get, 1 byte", 300_000, "", "(call $random (i32.const 65536) (i32.const 1))"),
        host("random_get, 1 MiB", 100, "", "(call $random (i32.const 65536) (i32.const 1048576))"),
        host("fd_write to a bad descriptor", 1_000_000, "", "(call $write (i32.const 99) (i32.const 256) (i32.const 1) (i32.const 96))"),
        host("fd_pwrite, 1 byte", 300_000, &length(1), &pwrite),
        host("fd_pwrite, 1 MiB", 300, &length(1 << 20), &pwrite),
        host("fd_pwrite, 1,024 empty buffers", 3000, "(memory.fill (i32.const 65536) (i32.const 0) (i32.const 8192))",
            &format!("(call $pwrite {fd} (i32.const 65536) (i32.const 1024) (i64.const 0) (i32.const 96))")),
        host("fd_pread, 1 byte", 300_000, &format!("{} (drop {pwrite})", length(1)), &pread),
        host("fd_pread, 1 MiB", 300, &format!("{} (drop {pwrite})", length(1 << 20)), &pread),
        host("fd_seek", 1_000_000, "", &format!("(call $seek {fd} (i64.const 0) (i32.const 0) (i32.const 96))")),
        host("fd_filestat_get", 500_000, "", &format!("(call $filestat {fd} (i32.const 96))")),
        host("fd_filestat_set_size, 16 MiB and back", 30, "",
            &format!("(call $resize {fd} (i64.const 16777216)) (drop (call $resize {fd} (i64.const 0)))")),
        host("path_open and fd_close", 100_000, "",
            "(call $open (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 5) (i32.const 0)
               (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 68)) (drop (call $close (i32.load (i32.const 68))))"),
        host("path_open of nothing", 300_000, "",
            "(call $open (i32.const 3) (i32.const 0) (i32.const 512) (i32.const 5) (i32.const 0)
               (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 68))"),
        host("path_filestat_get", 300_000, "", "(call $stat (i32.const 3) (i32.const 0) (i32.const 128) (i32.const 5) (i32.const 1536))"),
        host("path_filestat_get, 200 parts", 10_000, long,
            "(call $stat (i32.const 3) (i32.const 0) (i32.const 1024) (i32.const 600) (i32.const 2048))"),
        host("path_create_directory, path_remove_directory", 100_000, "",
            "(call $mkdir (i32.const 3) (i32.const 512) (i32.const 5)) (drop (call $rmdir (i32.const 3) (i32.const 512) (i32.const 5)))"),
        host("path_rename to itself", 100_000, "",
            "(call $rename (i32.const 3) (i32.const 128) (i32.const 5) (i32.const 3) (i32.const 128) (i32.const 5))"),
        host("fd_readdir, 64 KiB", 1000, many, &format!("(call $readdir {fd} (i32.const 65536) (i32.const 65536) (i64.const 0) (i32.const 96))")),
        host("fd_readdir, the last entry", 100_000, many, &format!("(call $readdir {fd} (i32.const 65536) (i32.const 24) (i64.const 1000) (i32.const 96))")),
        host("poll_oneoff, 1", 200_000, subscriptions, &poll(1)),
        host("poll_oneoff, 4,096", 100, subscriptions, &poll(4096)),
        host("args_sizes_get", 100_000, "", "(call $sizes (i32.const 96) (i32.const 100))"),
        host("args_get", 100_000, "", "(call $args (i32.const 65536) (i32.const 131072))"),
    ]
}

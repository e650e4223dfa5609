//! Rust: collections, traits, closures, iterators, big numbers, a parser with errors; a panic is
//! met by a hook that ends the program with a status.
//!
//!     words [rounds] [panic]

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::io::Write;
use std::rc::Rc;

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Number(f64),
    Variable(String),
    Binary(Box<Expression>, char, Box<Expression>),
}

#[derive(Debug)]
enum ParseError {
    Unexpected(char, usize),
    End,
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::Unexpected(found, at) => write!(out, "unexpected `{}` at {}", found, at),
            ParseError::End => write!(out, "unexpected end"),
        }
    }
}

impl std::error::Error for ParseError {}

struct Parser<'a> {
    text: std::iter::Peekable<std::iter::Enumerate<std::str::Chars<'a>>>,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Parser { text: text.chars().enumerate().peekable() }
    }

    fn level(&mut self, operators: &[&str]) -> Result<Expression, ParseError> {
        let (first, deeper) = match operators {
            [] => return self.atom(),
            [first, deeper @ ..] => (first, deeper),
        };
        let mut left = self.level(deeper)?;
        while let Some((_, operator)) = self.text.next_if(|(_, c)| first.contains(*c)) {
            left = Expression::Binary(Box::new(left), operator, Box::new(self.level(deeper)?));
        }
        Ok(left)
    }

    fn atom(&mut self) -> Result<Expression, ParseError> {
        match self.text.next().ok_or(ParseError::End)? {
            (_, '(') => {
                let inner = self.level(&["+-", "*/"])?;
                match self.text.next() {
                    Some((_, ')')) => Ok(inner),
                    Some((at, other)) => Err(ParseError::Unexpected(other, at)),
                    None => Err(ParseError::End),
                }
            }
            (_, digit) if digit.is_ascii_digit() => {
                let mut digits = digit.to_string();
                while let Some((_, next)) = self.text.next_if(|(_, c)| c.is_ascii_digit()) {
                    digits.push(next);
                }
                Ok(Expression::Number(digits.parse().unwrap_or(f64::NAN)))
            }
            (_, letter) if letter.is_alphabetic() => Ok(Expression::Variable(letter.to_string())),
            (at, other) => Err(ParseError::Unexpected(other, at)),
        }
    }
}

trait Visit {
    fn visit(&mut self, expression: &Expression) -> f64;
}

struct Evaluate<'a> {
    variables: &'a HashMap<String, f64>,
    seen: HashSet<String>,
}

impl Visit for Evaluate<'_> {
    fn visit(&mut self, expression: &Expression) -> f64 {
        match expression {
            Expression::Number(number) => *number,
            Expression::Variable(name) => {
                self.seen.insert(name.clone());
                self.variables.get(name).copied().unwrap_or(0.0)
            }
            Expression::Binary(left, operator, right) => {
                let (left, right) = (self.visit(left), self.visit(right));
                match operator {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                }
            }
        }
    }
}

struct Depth;

impl Visit for Depth {
    fn visit(&mut self, expression: &Expression) -> f64 {
        match expression {
            Expression::Binary(left, _, right) => 1.0 + self.visit(left).max(self.visit(right)),
            _ => 1.0,
        }
    }
}

/// Digits of e by a spigot, in a deque.
fn digits_of_e(count: usize) -> String {
    let mut terms: VecDeque<u32> = std::iter::repeat(1).take(count + 10).collect();
    let mut digits = String::from("2.");
    for _ in 0..count {
        let mut carry = 0;
        for (index, term) in terms.iter_mut().enumerate().rev() {
            let value = *term * 10 + carry;
            carry = value / (index as u32 + 2);
            *term = value % (index as u32 + 2);
        }
        digits.push(char::from(b'0' + carry as u8));
    }
    digits
}

fn main() {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("met: {}", info);
        std::process::exit(3);
    }));
    let args: Vec<String> = std::env::args().collect();
    let rounds: u32 = args.get(1).and_then(|text| text.parse().ok()).unwrap_or(12);

    let mut counts: BTreeMap<Rc<str>, u32> = BTreeMap::new();
    let mut state = 17u64;
    for _ in 0..rounds * 2000 {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let word: String = (0..1 + state % 3)
            .map(|place| char::from(b'a' + (state >> (20 + place * 7)) as u8 % 6))
            .collect();
        *counts.entry(word.into()).or_default() += 1;
    }
    let mut heap: BinaryHeap<(u32, &str)> =
        counts.iter().map(|(word, count)| (*count, &**word)).collect();
    let common: Vec<String> = std::iter::from_fn(|| heap.pop())
        .take(5)
        .map(|(count, word)| format!("{}={}", word, count))
        .collect();
    println!("{} words, most common {}", counts.len(), common.join(" "));

    let variables: HashMap<String, f64> =
        [("x", 2.0), ("y", 0.5)].iter().map(|(k, v)| (k.to_string(), *v)).collect();
    for text in ["1+2*3", "(x+y)*(x-y)/2", "((1)", "2**3", "x/0-x/0"] {
        match Parser::new(text).level(&["+-", "*/"]) {
            Ok(tree) => {
                let mut evaluate = Evaluate { variables: &variables, seen: HashSet::new() };
                let mut depth = Depth;
                let mut visitors: Vec<&mut dyn Visit> = vec![&mut evaluate, &mut depth];
                let results: Vec<f64> = visitors.iter_mut().map(|v| v.visit(&tree)).collect();
                println!("{} = {:?}, {} variables", text, results, evaluate.seen.len());
            }
            Err(error) => println!("{}: {}", text, error),
        }
    }
    println!("e = {}", digits_of_e(rounds as usize * 40));

    let path = "/out/counts.txt";
    let written = std::fs::File::create(path).and_then(|mut file| {
        for (word, count) in &counts {
            writeln!(file, "{} {}", word, count)?;
        }
        file.metadata()
    });
    match written {
        Ok(metadata) => println!("{} has {} bytes", path, metadata.len()),
        Err(error) => println!("{}: {}", path, error),
    }
    if args.iter().any(|arg| arg == "panic") {
        let nothing: Vec<u32> = Vec::new();
        println!("{}", nothing[args.len()]);
    }
}

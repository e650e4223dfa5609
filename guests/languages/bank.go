// Go: goroutines and channels, maps, interfaces, reflection (JSON), closures, panics that are
// recovered, a growing heap that is collected, files.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"
)

type Account struct {
	Owner   string         `json:"owner"`
	Balance int64          `json:"balance"`
	Tags    []string       `json:"tags,omitempty"`
	Extra   map[string]any `json:"extra,omitempty"`
}

type Event interface{ Apply(*Bank) error }

type Deposit struct {
	To     string
	Amount int64
}

type Transfer struct {
	From, To string
	Amount   int64
}

type Bank struct {
	accounts map[string]*Account
	failures map[string]int
}

var ErrPoor = errors.New("not enough money")

func (d Deposit) Apply(b *Bank) error {
	b.accounts[d.To].Balance += d.Amount
	return nil
}

func (t Transfer) Apply(b *Bank) error {
	from := b.accounts[t.From]
	if from.Balance < t.Amount {
		return fmt.Errorf("%s: %w", t.From, ErrPoor)
	}
	from.Balance -= t.Amount
	b.accounts[t.To].Balance += t.Amount // Panics when there is no such account.
	return nil
}

func (b *Bank) try(event Event) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("recovered: %v", r)
		}
	}()
	return event.Apply(b)
}

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("owner-%03d", i)
	}
	return out
}

func main() {
	owners := names(60)
	bank := &Bank{map[string]*Account{}, map[string]int{}}
	for i, owner := range owners {
		bank.accounts[owner] = &Account{Owner: owner, Tags: strings.Split("a,b,c", ",")[:i%4]}
	}

	// Producers and one consumer; the sum doesn't depend on their order.
	events := make(chan Event)
	var producers sync.WaitGroup
	for p := 0; p < 8; p++ {
		producers.Add(1)
		go func(seed int64) {
			defer producers.Done()
			random := rand.New(rand.NewSource(seed))
			for i := 0; i < 400; i++ {
				from, to := owners[random.Intn(60)], owners[random.Intn(60)]
				if i%50 == 49 {
					to = "nobody"
				}
				if i%3 == 0 && to != "nobody" {
					events <- Deposit{to, random.Int63n(1000)}
				} else {
					events <- Transfer{from, to, random.Int63n(500)}
				}
			}
		}(int64(p))
	}
	go func() { producers.Wait(); close(events) }()
	applied := 0
	for event := range events {
		err := bank.try(event)
		switch {
		case err == nil:
			applied++
		case errors.Is(err, ErrPoor):
			bank.failures["poor"]++
		default:
			bank.failures["panic"]++
		}
	}
	var total int64
	for _, account := range bank.accounts {
		total += account.Balance
	}
	fmt.Println("applied", applied, "failures", bank.failures, "total", total)

	// There and back through JSON, indented and as a tree of any.
	text, err := json.MarshalIndent(bank.accounts, "", "  ")
	check(err)
	var again map[string]*Account
	check(json.Unmarshal(text, &again))
	var tree any
	check(json.Unmarshal([]byte(`{"a":[1,2.5,"x",null,true],"b":{"c":"\u00fc"}}`), &tree))
	compact, err := json.Marshal(tree)
	check(err)
	fmt.Println(len(again), string(compact))
	fmt.Printf("%x\n", sha256.Sum256([]byte(strings.Repeat(string(compact), 2000))))

	// Garbage of many sizes.
	kept := map[int][]byte{}
	for i := 0; i < 20000; i++ {
		kept[i%97] = make([]byte, i%3000)
	}
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	fmt.Println("collected", stats.NumGC > 0, len(kept))

	fib := big.NewInt(0)
	for a, i := big.NewInt(1), 0; i < 2000; i++ {
		fib.Add(fib, a)
		fib, a = a, fib
	}
	fmt.Println("fib", len(fib.String()), fib.String()[:20])

	words := regexp.MustCompile(`\b(\w)(\w*)\b`)
	fmt.Println(words.ReplaceAllStringFunc("the quick brown fox", func(w string) string {
		return strings.ToUpper(w[:1]) + w[1:]
	}))

	// Files: a tree written, walked, read.
	for i, owner := range owners[:7] {
		directory := filepath.Join("/out", fmt.Sprint("d", i%3))
		check(os.MkdirAll(directory, 0o755))
		check(os.WriteFile(filepath.Join(directory, owner+".txt"), text[:i*100], 0o644))
	}
	var found []string
	check(filepath.WalkDir("/out", func(path string, entry os.DirEntry, err error) error {
		check(err)
		info, err := entry.Info()
		check(err)
		if !entry.IsDir() {
			found = append(found, fmt.Sprintf("%s:%d", path, info.Size()))
		}
		return nil
	}))
	sort.Strings(found)
	fmt.Println(found)
	check(os.Rename("/out/d0", "/out/renamed"))
	_, err = os.Stat("/out/d0/owner-000.txt")
	fmt.Println(errors.Is(err, os.ErrNotExist))

	// Timers: the virtual clock moves, no time passes.
	begun := time.Now()
	ticks := 0
	ticker := time.NewTicker(time.Hour)
	for range ticker.C {
		if ticks++; ticks == 5 {
			ticker.Stop()
			break
		}
	}
	fmt.Println("ticks", ticks, "hours", int(time.Since(begun).Hours()))
	select {
	case <-time.After(time.Minute):
		fmt.Println("waited")
	case <-make(chan bool):
	}
	scanner := bufio.NewScanner(os.Stdin)
	lines := 0
	for scanner.Scan() {
		lines++
	}
	fmt.Println("lines", lines)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// Package apikey owns the keys of a server: the file with their hashes, which key a request brings, and how much each may
// ask for.
//
// A key is 256 random bits that are shown once; only its SHA-256 is kept, so the file tells nobody a key. The package knows
// nothing of HTTP.
package apikey

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"leolm/internal/bounded"
	"leolm/internal/durable"
)

// Key is one key of a File. It stays the same when the file is read again.
type Key struct {
	Name string

	mu       sync.Mutex
	admin    bool
	limits   Limits
	requests bucket
	tokens   bucket
	running  int
}

// Admin reports whether the key may look into the server.
func (k *Key) Admin() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.admin
}

// Limits bound what one key may ask for; 0 means no bound.
type Limits struct {
	RequestsPerMinute int
	TokensPerMinute   int // of prompts and answers together
	Concurrent        int // requests at a time
}

// File is a file of keys. It is read again when it changes; a file with a mistake changes nothing. It is safe for
// concurrent use.
type File struct {
	path string
	told func(error) // what is wrong with a changed file

	mu      sync.Mutex
	entries []entry
	state   state
	checked time.Time
}

type entry struct {
	hash [sha256.Size]byte
	key  *Key
}

// state tells whether a file has changed; a link that points elsewhere has.
type state struct {
	info     fs.FileInfo
	modified time.Time
	size     int64
}

func (s state) same(t state) bool {
	return s.info != nil && t.info != nil && os.SameFile(s.info, t.info) && s.modified.Equal(t.modified) && s.size == t.size
}

// Bounds of a file of keys.
const (
	maxFile   = 4 << 20
	maxSecret = 512
	// checkEvery is how often a File looks whether it has changed.
	checkEvery = time.Second
)

// FileError is a mistake in a file of keys.
type FileError struct {
	Path string
	Line int // from 1
	What string
}

func (e *FileError) Error() string { return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.What) }

// Open reads a file of keys. told, if not nil, is called when the file has changed into something that cannot be read; the
// keys stay what they were.
//
// Each line is a key, "NAME: sha256:HEX", and what it may do: "admin", "requests=60" and "tokens=20000" in a minute,
// "concurrent=4". Lines that begin with # are comments.
func Open(path string, told func(error)) (*File, error) {
	f := &File{path: path, told: told}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.read(); err != nil {
		return nil, err
	}
	return f, nil
}

// Find returns the key with this secret, or nil. The time it takes does not tell how much of a secret is right.
func (f *File) Find(secret string) *Key {
	if secret == "" || len(secret) > maxSecret {
		return nil
	}
	hash := sha256.Sum256([]byte(secret))
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.checked) >= checkEvery {
		f.refresh()
	}
	var found *Key
	for i := range f.entries {
		if subtle.ConstantTimeCompare(f.entries[i].hash[:], hash[:]) == 1 {
			found = f.entries[i].key
		}
	}
	return found
}

// Len is the number of keys.
func (f *File) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.entries)
}

// refresh reads the file again if it has changed. f.mu is held.
func (f *File) refresh() {
	f.checked = time.Now()
	now, err := stat(f.path)
	if err == nil && now.same(f.state) {
		return
	}
	if err == nil {
		err = f.read()
	}
	if err != nil {
		if f.told != nil && !now.same(f.state) {
			f.told(err)
		}
		f.state = now // said once
	}
}

func stat(path string) (state, error) {
	info, err := os.Stat(path)
	if err != nil {
		return state{}, err
	}
	return state{info, info.ModTime(), info.Size()}, nil
}

// read reads the file. f.mu is held.
func (f *File) read() error {
	now, err := stat(f.path)
	if err != nil {
		return err
	}
	text, err := bounded.Regular(f.path, maxFile)
	if err != nil {
		return err
	}
	entries, err := parse(f.path, text)
	if err != nil {
		return err
	}
	// What a key has used stays counted.
	for i := range entries {
		for _, old := range f.entries {
			if old.key.Name == entries[i].key.Name {
				fresh := entries[i].key
				old.key.change(fresh.admin, fresh.limits)
				entries[i].key = old.key
			}
		}
	}
	f.entries, f.state, f.checked = entries, now, time.Now()
	return nil
}

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// parse reads the lines of a file of keys. No part of a line is repeated in an error: it could be a secret.
func parse(path string, text []byte) ([]entry, error) {
	var out []entry
	names := map[string]int{}
	for i, line := range bytes.Split(text, []byte("\n")) {
		words := strings.Fields(string(line))
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		fail := func(format string, args ...any) ([]entry, error) {
			return nil, &FileError{path, i + 1, fmt.Sprintf(format, args...)}
		}
		name, ok := strings.CutSuffix(words[0], ":")
		if !ok || !validName.MatchString(name) || len(words) < 2 {
			return fail("want NAME: sha256:HEX; a name has letters, digits, dots, dashes and underscores")
		}
		if names[name] > 0 {
			return fail("the name is that of line %d", names[name])
		}
		digits, ok := strings.CutPrefix(words[1], "sha256:")
		hash, err := hex.DecodeString(digits)
		if !ok || err != nil || len(hash) != sha256.Size {
			return fail("want sha256: and 64 hexadecimal digits; a key itself has no place here")
		}
		e := entry{hash: [sha256.Size]byte(hash), key: &Key{Name: name}}
		for _, o := range out {
			if o.hash == e.hash {
				return fail("this is the key of line %d", names[o.key.Name])
			}
		}
		var limits Limits
		for n, word := range words[2:] {
			if word == "admin" {
				e.key.admin = true
				continue
			}
			what, value, _ := strings.Cut(word, "=")
			to := map[string]*int{
				"requests": &limits.RequestsPerMinute, "tokens": &limits.TokensPerMinute, "concurrent": &limits.Concurrent,
			}[what]
			v, err := strconv.Atoi(value)
			if to == nil || err != nil || v < 1 || v > 1<<40 {
				return fail("word %d: want admin, requests=N, tokens=N or concurrent=N, with N from 1", n+3)
			}
			*to = v
		}
		e.key.change(e.key.admin, limits)
		names[name] = i + 1
		out = append(out, e)
	}
	return out, nil
}

// New makes a key. line is what a file of keys holds of it.
func New(name string) (secret, line string, err error) {
	if !validName.MatchString(name) {
		return "", "", fmt.Errorf("%q is no name of a key: use letters, digits, dots, dashes and underscores, 64 at most", name)
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	secret = "leo-" + hex.EncodeToString(b[:])
	return secret, name + ": sha256:" + hash(secret), nil
}

func hash(secret string) string {
	h := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(h[:])
}

// Append adds a line to the file at path, which need not exist. The file is replaced as a whole by one that only its owner
// can read.
func Append(path, line string) error {
	text, err := bounded.Regular(path, maxFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	text = append(append(text, line...), '\n')
	if _, err := parse(path, text); err != nil {
		return err
	}
	return durable.WritePrivate(path, text)
}

package infer

import (
	"bytes"
	"slices"
)

// Session is one sequence of tokens whose keys and values are cached.
type Session struct {
	e     *Engine
	ids   []int32 // tokens in the cache
	pages []int32
	// length is the length of the text that the next tokens belong to, for rotary scalings that depend on it (dynamic,
	// LongRoPE). 0: the text ends with the feed. oneByOne: it ends with each token, as if they were fed one at a time.
	length int

	// The pages that a Scheduler's prefix cache has as well, and their keys: before the first and of the last.
	prefix    *prefixCache
	held      []*prefixPage
	root, key prefixKey
}

const oneByOne = -1

// NewSession returns an empty session.
func (e *Engine) NewSession() *Session { return &Session{e: e} }

// Len is the number of cached tokens.
func (s *Session) Len() int { return len(s.ids) }

// Tokens returns the cached tokens; do not change them.
func (s *Session) Tokens() []int32 { return s.ids }

// Truncate drops all but the first n tokens, and frees all pages beyond them.
func (s *Session) Truncate(n int) {
	n = min(n, len(s.ids))
	s.ids = s.ids[:n]
	pageLen := s.e.cache.PageLen()
	keep := (n + pageLen - 1) / pageLen
	for _, p := range s.pages[keep:] {
		s.e.cache.Free(p)
	}
	s.pages = s.pages[:keep]
	if keep < len(s.held) {
		s.prefix.release(s.held[keep:])
		s.held, s.key = s.held[:keep], s.root
		if keep > 0 {
			s.key = s.held[keep-1].key
		}
	}
}

// FillSynthetic appends n tokens with made-up keys and values, for measuring the speed of a
// long context: it does not depend on the contents.
func (s *Session) FillSynthetic(n int) error {
	if s.e.opt.Peers != nil {
		return ErrShared
	}
	if err := s.grow(n); err != nil {
		return err
	}
	s.ids = append(s.ids, make([]int32, n)...)
	page := bytes.Repeat([]byte{0x11}, s.e.cache.PageBytes())
	for _, p := range s.pages {
		s.e.cache.WritePage(p, page)
	}
	return nil
}

// Close returns the session's pages to the cache.
func (s *Session) Close() { s.Truncate(0) }

// Fork returns a session with the same tokens. Full pages are shared; a partly filled last one is copied.
func (s *Session) Fork() (*Session, error) { return s.forkAt(len(s.ids)) }

// forkAt is Fork of the first n tokens.
func (s *Session) forkAt(n int) (*Session, error) {
	c := s.e.cache
	f := &Session{e: s.e, ids: slices.Clone(s.ids[:n]), root: s.root, key: s.root}
	full := n / c.PageLen()
	for _, p := range s.pages[:full] {
		c.Retain(p)
		f.pages = append(f.pages, p)
	}
	if part := n - full*c.PageLen(); part > 0 {
		p, err := c.Alloc()
		if err != nil {
			f.Close()
			return nil, err
		}
		f.pages = append(f.pages, p)
		if err := s.e.copyPage(p, s.pages[full], part); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// Reuse truncates the session to the longest prefix it shares with ids, and
// leaves at least one of ids to be fed, because generation starts from its logits.
// It returns how many of ids are cached.
func (s *Session) Reuse(ids []int32) int {
	n := 0
	for n < len(s.ids) && n < len(ids) && s.ids[n] == ids[n] {
		n++
	}
	if n == len(ids) && n > 0 {
		n--
	}
	s.Truncate(n)
	return n
}

// grow makes room for n more tokens.
func (s *Session) grow(n int) error {
	need := len(s.ids) + n
	if need > s.e.opt.Context {
		return &ContextError{Tokens: need, Limit: s.e.opt.Context}
	}
	for len(s.pages)*s.e.cache.PageLen() < need {
		p, err := s.e.cache.Alloc()
		if err != nil {
			return err
		}
		s.pages = append(s.pages, p)
	}
	return nil
}

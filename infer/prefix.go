package infer

import (
	"container/list"
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"

	"leolm/device"
)

// prefixCache keeps full pages of keys and values after the sequences that filled them, so that another sequence that begins
// with the same tokens need not compute them again. A page is found by a hash over all tokens up to its end; its own tokens
// are compared, so that a collision costs a miss and nothing else. The least recently used pages go first.
type prefixCache struct {
	cache device.KVCache
	pages map[prefixKey]*list.Element // of *prefixPage
	order *list.List                  // most recently used first

	hits, misses int64 // tokens of prompts found and not found
}

// prefixKey stands for all tokens from the beginning to the end of a page.
type prefixKey xxh3.Uint128

type prefixPage struct {
	key  prefixKey
	ids  []int32 // of this page
	page int32
}

func newPrefixCache(cache device.KVCache) *prefixCache {
	return &prefixCache{cache: cache, pages: map[prefixKey]*list.Element{}, order: list.New()}
}

// after is the key of a page of ids behind the pages that before stands for.
func (before prefixKey) after(ids []int32) prefixKey {
	b := make([]byte, 0, 16+4*len(ids))
	b = binary.LittleEndian.AppendUint64(b, before.Hi)
	b = binary.LittleEndian.AppendUint64(b, before.Lo)
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return prefixKey(xxh3.Hash128(b))
}

// find returns the pages of the longest cached beginning of ids, with a reference each for the caller. At least one token
// is left to be fed, so that there are logits to go on from.
func (c *prefixCache) find(ids []int32) []int32 {
	n := c.cache.PageLen()
	var found []int32
	var key prefixKey
	for at := 0; at+n < len(ids); at += n {
		part := ids[at : at+n]
		key = key.after(part)
		e, ok := c.pages[key]
		if !ok || !slices.Equal(e.Value.(*prefixPage).ids, part) {
			break
		}
		c.order.MoveToFront(e)
		page := e.Value.(*prefixPage).page
		c.cache.Retain(page)
		found = append(found, page)
	}
	c.hits += int64(len(found) * n)
	c.misses += int64(len(ids) - len(found)*n)
	return found
}

// keep adds the full pages of s that are not known yet. What they hold must be final.
func (c *prefixCache) keep(s *Session) {
	n := c.cache.PageLen()
	for s.kept < len(s.pages) && (s.kept+1)*n <= len(s.ids) {
		part := s.ids[s.kept*n : (s.kept+1)*n]
		s.key = s.key.after(part)
		if e, ok := c.pages[s.key]; ok {
			c.order.MoveToFront(e)
		} else {
			page := s.pages[s.kept]
			c.cache.Retain(page)
			c.pages[s.key] = c.order.PushFront(&prefixPage{key: s.key, ids: slices.Clone(part), page: page})
		}
		s.kept++
	}
}

// evict gives the least recently used page back; false if there is none.
func (c *prefixCache) evict() bool {
	e := c.order.Back()
	if e == nil {
		return false
	}
	p := c.order.Remove(e).(*prefixPage)
	delete(c.pages, p.key)
	c.cache.Free(p.page)
	return true
}

// clear gives all pages back.
func (c *prefixCache) clear() {
	for c.evict() {
	}
}

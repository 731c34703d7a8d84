package infer

import (
	"container/list"
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"

	"leolm/device"
)

// prefixCache keeps full pages of keys and values when the sequences that filled them have ended, so that another sequence
// with the same beginning need not compute them again. A page is found by a 128-bit hash of all tokens up to its end, and
// its own tokens are compared as well. The least recently used page is evicted first.
type prefixCache struct {
	cache device.KVCache
	pages map[prefixKey]*list.Element // of *prefixPage
	order *list.List                  // most recently used first

	hits int64 // tokens of prompts that were found; for tests
}

// prefixKey is the hash of all tokens from the beginning of a sequence to the end of a page.
type prefixKey xxh3.Uint128

type prefixPage struct {
	key  prefixKey
	ids  []int32 // of this page
	page int32
}

func newPrefixCache(cache device.KVCache) *prefixCache {
	return &prefixCache{cache: cache, pages: map[prefixKey]*list.Element{}, order: list.New()}
}

// after returns the key of a page of ids that follows the page with the key before.
func (before prefixKey) after(ids []int32) prefixKey {
	b := make([]byte, 0, 16+4*len(ids))
	b = binary.LittleEndian.AppendUint64(b, before.Hi)
	b = binary.LittleEndian.AppendUint64(b, before.Lo)
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return prefixKey(xxh3.Hash128(b))
}

// find returns the pages of the longest cached prefix of ids; the caller gets a reference to each. At least one token is
// left to be fed, because generation starts from its logits.
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
	return found
}

// keep adds the full pages of s that are not in the cache yet. Their contents must be final.
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

// evict frees the least recently used page; it returns false if there is none.
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

// clear frees all pages.
func (c *prefixCache) clear() {
	for c.evict() {
	}
}

package infer

import (
	"container/list"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"leolm/device"
)

// prefixCache keeps full pages of keys and values, so that another sequence with the same beginning need not compute them
// again. Pages that no session holds are evicted when the cache is full, the least recently used first, and a page before
// those that lead to it. An engine has one model with its adapters, so its pages need no mark of them.
type prefixCache struct {
	cache device.KVCache
	pages map[prefixKey]*prefixPage
	idle  *list.List // of *prefixPage: those that no session holds, most recently used first

	asked, hits int64 // tokens that were looked for, and found
}

// prefixKey is the SHA-256 of who asks, of what keys depend on beside tokens, and of all tokens from the beginning of a sequence to the end of a page. Nobody can
// make two prompts with one key, so tokens need not be compared.
type prefixKey [sha256.Size]byte

type prefixPage struct {
	key     prefixKey
	page    int32
	holders int           // sessions
	idle    *list.Element // in prefixCache.idle while there are none
}

func newPrefixCache(cache device.KVCache) *prefixCache {
	return &prefixCache{cache: cache, pages: map[prefixKey]*prefixPage{}, idle: list.New()}
}

// rootKey is the key before the first page; length is the model's TextLength of the text.
func rootKey(tenant, salt string, length int) prefixKey {
	b := binary.AppendUvarint(nil, uint64(length))
	b = binary.AppendUvarint(b, uint64(len(tenant))) // lengths keep the two fields apart
	b = append(b, tenant...)
	return sha256.Sum256(append(b, salt...))
}

// after returns the key of a page of ids that follows the page with the key before.
func (before prefixKey) after(ids []int32) prefixKey {
	b := make([]byte, 0, len(before)+4*len(ids))
	b = append(b, before[:]...)
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
	}
	return sha256.Sum256(b)
}

// fill gives the empty session s the pages of the longest cached prefix of ids, and returns its length.
func (c *prefixCache) fill(s *Session, ids []int32) int {
	n := c.cache.PageLen()
	for at := 0; at+n <= len(ids); at += n {
		p, ok := c.pages[s.key.after(ids[at:at+n])]
		if !ok {
			break
		}
		c.cache.Retain(p.page)
		s.pages, s.ids = append(s.pages, p.page), append(s.ids, ids[at:at+n]...)
		c.hold(s, p)
	}
	c.asked += int64(len(ids))
	c.hits += int64(len(s.ids))
	return len(s.ids)
}

// keep adds the full pages of s that are not in the cache yet; of those that are, s takes the cache's copy, which has the
// same bits. Contents must be final.
func (c *prefixCache) keep(s *Session) {
	n := c.cache.PageLen()
	for at := len(s.held); at < len(s.pages) && (at+1)*n <= len(s.ids); at++ {
		key := s.key.after(s.ids[at*n : (at+1)*n])
		p, ok := c.pages[key]
		if ok {
			c.cache.Free(s.pages[at])
			c.cache.Retain(p.page)
			s.pages[at] = p.page
		} else {
			p = &prefixPage{key: key, page: s.pages[at]}
			c.cache.Retain(p.page) // the cache's own reference
			c.pages[key] = p
		}
		c.hold(s, p)
	}
}

// hold notes that s, which has p in its pages, holds it.
func (c *prefixCache) hold(s *Session, p *prefixPage) {
	p.holders++
	if p.idle != nil {
		c.idle.Remove(p.idle)
		p.idle = nil
	}
	s.prefix, s.held, s.key = c, append(s.held, p), p.key
}

// release takes back the holds of a session on ps, the end of what it held. The first of them becomes the most recently
// used one, because the others cannot be reached without it.
func (c *prefixCache) release(ps []*prefixPage) {
	for _, p := range slices.Backward(ps) {
		if p.holders--; p.holders == 0 {
			p.idle = c.idle.PushFront(p)
		}
	}
}

// evict frees the least recently used page that no session holds; it returns false if there is none.
func (c *prefixCache) evict() bool {
	e := c.idle.Back()
	if e == nil {
		return false
	}
	p := c.idle.Remove(e).(*prefixPage)
	delete(c.pages, p.key)
	c.cache.Free(p.page)
	return true
}

// clear frees all pages that no session holds.
func (c *prefixCache) clear() {
	for c.evict() {
	}
}

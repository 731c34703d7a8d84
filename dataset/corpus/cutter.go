package corpus

// cutter cuts a stream of documents, from a position in a larger stream, into
// windows of window+1 ids at multiples of window.
type cutter struct {
	write         func(ids []byte, starts []uint32) error
	window, width int64
	total         int64 // tokens of the whole stream
	pos           int64 // of the next token to come
	next          int64 // where the next window to write begins
	buf           []byte
	starts        []uint32
	closing       bool // own documents are over: write no window that begins later
}

// open reports whether a window was begun and not finished.
func (c *cutter) open() bool { return len(c.buf) > 0 }

// add takes one document.
func (c *cutter) add(ids []byte) error {
	start := true
	for len(ids) > 0 {
		n := int64(len(ids)) / c.width
		if c.pos < c.next { // belongs to a window of the shard before
			skip := min(n, c.next-c.pos)
			c.pos += skip
			ids = ids[skip*c.width:]
			start = false
			continue
		}
		if c.closing && !c.open() {
			return nil
		}
		if start {
			c.starts = append(c.starts, uint32(c.pos-c.next))
			start = false
		}
		take := min(n, c.next+c.window+1-c.pos)
		c.buf = append(c.buf, ids[:take*c.width]...)
		c.pos += take
		ids = ids[take*c.width:]
		if c.pos < c.next+c.window+1 {
			return nil
		}
		if err := c.write(c.buf, c.starts); err != nil {
			return err
		}
		// The last id opens the next window; so does a document that begins there.
		shared := len(c.starts) > 0 && int64(c.starts[len(c.starts)-1]) == c.window
		c.next += c.window
		c.starts = c.starts[:0]
		if c.closing {
			c.buf = c.buf[:0]
			return nil
		}
		c.buf = append(c.buf[:0], c.buf[c.window*c.width:]...)
		if shared {
			c.starts = append(c.starts, 0)
		}
	}
	return nil
}

// finish writes the shorter window at the end of the stream. One id alone has
// nothing to predict and was the target of the window before.
func (c *cutter) finish() error {
	if !c.open() || c.pos != c.total || int64(len(c.buf)) < 2*c.width {
		return nil
	}
	return c.write(c.buf, c.starts)
}

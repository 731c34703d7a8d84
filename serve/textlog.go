package serve

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TextLog is a file that keeps what clients and models write, to find out what goes wrong between them. Only its owner can
// read it, and it stops growing at a bound.
type TextLog struct {
	mu   sync.Mutex
	f    *os.File
	left int64
	full bool // and that was said
}

// OpenTextLog opens or creates the file at path, which grows to limit bytes.
func OpenTextLog(path string, limit int64) (*TextLog, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil {
		err = f.Chmod(0o600)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &TextLog{f: f, left: limit - info.Size()}, nil
}

// Close closes the file.
func (t *TextLog) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.f.Close()
}

// textCopy is the text of an exchange.
type textCopy struct{ request, response cappedBuffer }

// add writes an exchange as one line of JSON, whole or not at all.
func (t *TextLog) add(id string, c *textCopy, log *slog.Logger) {
	if c.request.buf.Len() == 0 {
		return // a probe or a page
	}
	line, err := json.Marshal(struct {
		Time     time.Time `json:"time"`
		ID       string    `json:"id"`
		Request  string    `json:"request"`
		Response string    `json:"response"`
		Cut      bool      `json:"cut,omitempty"`
	}{time.Now().UTC(), id, c.request.buf.String(), c.response.buf.String(), c.request.cut || c.response.cut})
	if err != nil {
		return // strings and a time
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if int64(len(line)+1) > t.left {
		if !t.full {
			log.Warn("the file for texts is full; later requests are not in it", "file", t.f.Name())
		}
		t.full, t.left = true, 0
		return
	}
	n, err := t.f.Write(append(line, '\n'))
	t.left -= int64(n)
	if err != nil {
		log.Error("a text cannot be logged", "error", err)
		t.full, t.left = true, 0
	}
}

package infer

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// sessionMagic is how a saved session begins.
const sessionMagic = "LEOSES01"

// sessionHeader is stored as JSON, after the magic and the JSON's length (uint32,
// little endian). The token ids (int32) and the pages follow.
type sessionHeader struct {
	Model   string `json:"model"` // Options.Fingerprint of the engine
	Cache   string `json:"cache"`
	Layers  int    `json:"layers"`
	KVHeads int    `json:"kv_heads"`
	HeadDim int    `json:"head_dim"`
	PageLen int    `json:"page_len"`
	Tokens  int    `json:"tokens"`
}

func (e *Engine) header(tokens int) sessionHeader {
	c := &e.model.Config
	return sessionHeader{
		Model: e.opt.Fingerprint, Cache: e.cache.DType().String(), Layers: c.Layers, KVHeads: c.KVHeads, HeadDim: c.HeadDim,
		PageLen: e.cache.PageLen(), Tokens: tokens,
	}
}

// ErrShared is what saving and loading sessions returns where the engine has peers: it has a part of keys and values only.
var ErrShared = errors.New("several processes share this model, and each has a part of its keys and values: sessions cannot be saved or loaded")

// Save writes the session's tokens, keys and values.
func (s *Session) Save(w io.Writer) error {
	if s.e.opt.Peers != nil {
		return ErrShared
	}
	bw := bufio.NewWriterSize(w, 1<<20)
	head, err := json.Marshal(s.e.header(len(s.ids)))
	if err != nil {
		return err
	}
	bw.WriteString(sessionMagic)
	binary.Write(bw, binary.LittleEndian, uint32(len(head)))
	bw.Write(head)
	binary.Write(bw, binary.LittleEndian, s.ids)
	page := make([]byte, s.e.cache.PageBytes())
	for _, p := range s.pages {
		s.e.cache.ReadPage(p, page)
		bw.Write(page)
	}
	return bw.Flush()
}

// LoadSession reads a session that an engine of the same model, cache type and page length saved.
func (e *Engine) LoadSession(r io.Reader) (*Session, error) {
	if e.opt.Peers != nil {
		return nil, ErrShared
	}
	br := bufio.NewReaderSize(r, 1<<20)
	magic := make([]byte, len(sessionMagic)+4)
	if _, err := io.ReadFull(br, magic); err != nil || string(magic[:len(sessionMagic)]) != sessionMagic {
		return nil, fmt.Errorf("not a saved session (it should begin with %q)", sessionMagic)
	}
	n := binary.LittleEndian.Uint32(magic[len(sessionMagic):])
	if n > 1<<16 {
		return nil, fmt.Errorf("saved session: a header of %d bytes; the file is damaged", n)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(br, head); err != nil {
		return nil, fmt.Errorf("saved session: header: %w", err)
	}
	var h sessionHeader
	if err := json.Unmarshal(head, &h); err != nil {
		return nil, fmt.Errorf("saved session: header: %w", err)
	}
	if want := e.header(h.Tokens); h != want {
		return nil, fmt.Errorf("saved session is of %+v, this model needs %+v", h, want)
	}
	if h.Tokens < 0 || h.Tokens > e.opt.Context {
		return nil, &ContextError{Tokens: h.Tokens, Limit: e.opt.Context}
	}
	ids := make([]int32, h.Tokens)
	if err := binary.Read(br, binary.LittleEndian, ids); err != nil {
		return nil, fmt.Errorf("saved session: tokens: %w", err)
	}
	s := e.NewSession()
	if err := s.grow(len(ids)); err != nil {
		s.Close()
		return nil, err
	}
	s.ids = ids
	page := make([]byte, e.cache.PageBytes())
	for i, p := range s.pages {
		if _, err := io.ReadFull(br, page); err != nil {
			s.Close()
			return nil, fmt.Errorf("saved session: page %d of %d: %w", i, len(s.pages), err)
		}
		e.cache.WritePage(p, page)
	}
	return s, nil
}

// Package unpack reads gzip and zstd streams as the tools of their formats do.
//
// It owns: telling by the first bytes whether a stream is compressed, zero
// padding after gzip members (as tape blocks and Python's gzip have it),
// skippable frames of zstd, the bound on a decoder's memory, and messages that
// say what is wrong with a stream. It does not own files.
package unpack

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// HeadLen is how many first bytes [Format] wants to see.
const HeadLen = 4

// Format tells how a stream that begins with head is compressed: "gzip",
// "zstd", or "" for neither. Zstd also begins with a skippable frame (RFC 8878,
// section 3.1.2), where pzstd and seekable archives put their tables.
func Format(head []byte) string {
	switch {
	case len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		return "gzip"
	case len(head) < HeadLen:
		return ""
	}
	if magic := binary.LittleEndian.Uint32(head); magic == 0xfd2fb528 || magic&^0xf == 0x184d2a50 {
		return "zstd"
	}
	return ""
}

// Error says what is wrong with a compressed stream.
type Error struct {
	What string // in words, with what to do
	Err  error  // the decoder's
}

func (e *Error) Error() string { return e.What + ": " + e.Err.Error() }

func (e *Error) Unwrap() error { return e.Err }

// maxWindow bounds the memory of the zstd decoder, in bytes: the largest window
// of zstd's levels is 128 MiB.
const maxWindow = 256 << 20

// Reader returns what br holds, decompressed where its first bytes say so.
// Errors of a compressed stream are an *[Error], at the first read or later.
// Closing the result frees the decoder, not br.
func Reader(br *bufio.Reader) (io.ReadCloser, error) {
	head, err := br.Peek(HeadLen)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch Format(head) {
	case "gzip":
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, explain(err)
		}
		z.Multistream(false)
		return &gzipReader{br: br, z: z}, nil
	case "zstd":
		z, err := zstd.NewReader(br, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, explain(err)
		}
		return &zstdReader{z}, nil
	}
	return io.NopCloser(br), nil
}

// gzipReader reads members one after the other, with zero bytes between and
// after them.
type gzipReader struct {
	br *bufio.Reader
	z  *gzip.Reader
}

func (r *gzipReader) Read(p []byte) (int, error) {
	for {
		n, err := r.z.Read(p)
		if err != nil && err != io.EOF {
			return n, explain(err)
		}
		if n > 0 || err == nil {
			return n, nil
		}
		if err := r.next(); err != nil {
			return 0, err
		}
	}
}

// next goes to the next member; io.EOF if there is none.
func (r *gzipReader) next() error {
	for {
		b, err := r.br.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			break
		}
	}
	if err := r.br.UnreadByte(); err != nil {
		return err
	}
	err := r.z.Reset(r.br)
	if err == io.EOF { // a part of a header
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return explain(err)
	}
	r.z.Multistream(false)
	return nil
}

func (r *gzipReader) Close() error { return r.z.Close() }

type zstdReader struct{ z *zstd.Decoder }

func (r *zstdReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if err != nil && err != io.EOF {
		err = explain(err)
	}
	return n, err
}

func (r *zstdReader) Close() error {
	r.z.Close()
	return nil
}

func explain(err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Error{"the compressed file is cut off; fetch it again", io.ErrUnexpectedEOF}
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &Error{fmt.Sprintf("the zstd window is larger than %d MiB; pack the file again with a smaller one", maxWindow>>20), err}
	}
	return &Error{"the compressed file is damaged; fetch it again", err}
}

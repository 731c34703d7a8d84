package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// settings are those of llama-server that decide its speed. Which are best depends on the machine and the load.
type settings struct {
	Slots int    `json:"slots"`
	Flash string `json:"flash_attention"` // on or off
	Batch int    `json:"batch"`           // logical and physical
}

func (s settings) String() string {
	return fmt.Sprintf("-np %d -fa %s -ub %d", s.Slots, s.Flash, s.Batch)
}

// server is a program that runs and answers.
type server struct {
	name, base, model string
	stops             []int32
	client            *http.Client
	cmd               *exec.Cmd
	exited            chan error
	log               *os.File
}

const (
	leoName  = "leo"
	peerName = "llama-server"
)

// startLeo starts leo serve with its defaults. It may answer before the model is loaded, the first request waits then.
func (b *bench) startLeo(ctx context.Context) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	args := append([]string{"serve", b.model, "--listen", addr, "--threads", strconv.Itoa(b.threads)}, b.leoArgs...)
	return b.start(ctx, leoName, addr, "/v1/models", exec.Command(b.leo, args...))
}

// startPeer starts llama-server for a cell. It repacks weights that are read into memory, not those of a mapped file.
// Its cache of prompts in main memory is for what no longer fits the slots, which does not occur here.
func (b *bench) startPeer(ctx context.Context, c *cell, s settings) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	threads, batch := strconv.Itoa(b.threads), strconv.Itoa(s.Batch)
	args := []string{"-m", b.model, "--host", host, "--port", port, "-t", threads, "-tb", threads,
		"-np", strconv.Itoa(s.Slots), "-c", strconv.Itoa(s.Slots * c.context), "-fa", s.Flash, "-b", batch, "-ub", batch,
		"--load-mode", "none", "--cache-reuse", "256", "--cache-ram", "0"}
	cmd := exec.Command(b.peer, append(args, b.peerArgs...)...)
	cmd.Env = append(os.Environ(), "GLIBC_TUNABLES=glibc.malloc.hugetlb=1") // large pages, as Leo asks for
	return b.start(ctx, peerName, addr, "/health", cmd)
}

// freeAddress returns a port of the loopback interface that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start starts a program, waits until the page ready says yes, and lets it answer once, so that weights are in memory.
func (b *bench) start(ctx context.Context, name, addr, ready string, cmd *exec.Cmd) (*server, error) {
	log, err := os.Create(filepath.Join(b.out, name+".log"))
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		log.Close()
		return nil, err
	}
	s := &server{name: name, base: "http://" + addr, model: strings.TrimSuffix(filepath.Base(b.model), ".gguf"),
		stops: b.stops, cmd: cmd, log: log, exited: make(chan error, 1),
		// A connection for each request: llama-server closes idle ones after seconds, and then a request may meet its end.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	go func() { s.exited <- cmd.Wait() }()
	if err := s.awaitReady(ctx, ready); err != nil {
		s.stop()
		return nil, err
	}
	warm := newGenerator(1<<40, b.words)
	if _, err := s.complete(ctx, request{prompt: warm.prompt(16), tokens: 4}, nil); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *server) awaitReady(ctx context.Context, path string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path, nil)
		if err != nil {
			return err
		}
		if resp, err := s.client.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("%s ended (%v): %s", s.name, err, lastLine(s.log.Name()))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// stop ends the program, politely first.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(15 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.log.Close()
}

// resident returns the bytes of the program's memory that are in use now.
func (s *server) resident() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		var kib float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kib); n == 1 {
			return kib * 1024, nil
		}
	}
	return 0, errors.New("/proc knows no VmRSS")
}

// lastLine returns the last line of a file, for a message.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	text = bytes.TrimSpace(text)
	return cmp.Or(string(text[bytes.LastIndexByte(text, '\n')+1:]), "it said nothing")
}

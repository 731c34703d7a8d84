//go:build linux && !nodl && (amd64 || arm64)

package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
)

// Signs of life. Every rank sends one each half second to the ranks 1, 2, 4, … behind it, and hears those before it:
// several ranks watch each one, and news of a death reach everybody in as many hops as the size has binary digits. On the
// same machine they also see whether the process is there.

// tagLife is the tag of signs of life, on a communicator of their own.
const tagLife = 2

// The kinds of signs.
const (
	signAlive = iota + 1 // in silent, how long the sender has made no call; 0 if it waits in one
	signDead             // a rank is dead
	signAbort            // a rank ends the run
	signBye              // the sender leaves as agreed
)

// signBytes is the length of a sign: kind, rank, milliseconds of silence, by, length of the text, text.
const signBytes = 512

type sign struct {
	kind, rank, silent, by uint32
	text                   string
}

func (s *sign) put(b []byte) {
	for i, v := range []uint32{s.kind, s.rank, s.silent, s.by} {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	n := copy(b[20:signBytes], s.text)
	binary.LittleEndian.PutUint32(b[16:], uint32(n))
}

func (s *sign) get(b []byte) {
	for i, v := range []*uint32{&s.kind, &s.rank, &s.silent, &s.by} {
		*v = binary.LittleEndian.Uint32(b[4*i:])
	}
	n := min(int(binary.LittleEndian.Uint32(b[16:])), signBytes-20)
	s.text = strings.ToValidUTF8(string(b[20:20+n]), "")
}

// link is to two ranks: one that hears this one, one that it hears.
type link struct {
	to, from   int
	out, in    cell // the sign being sent, the sign expected
	sent, hear cell // requests
	news       cell // a sign that cannot wait for the one before
	newsSent   cell
	sending    bool // out is on its way
	spreading  bool // news is
	pid        int  // of from, if this process sees it; else 0
	noted      bool // that from is late, for the present call
	deaf       bool // from has left, or an error was seen: nothing more is expected

	lastSent, lastHeard, lastLook time.Time
}

func (m *mpiWorld) openLinks() error {
	now := time.Now()
	for d := 1; d < m.size; d *= 2 {
		l := &link{to: (m.rank + d) % m.size, from: (m.rank - d + m.size) % m.size, lastHeard: now}
		for _, c := range []struct {
			to    *cell
			bytes int
		}{{&l.out, signBytes}, {&l.in, signBytes}, {&l.news, signBytes}, {&l.sent, 8}, {&l.hear, 8}, {&l.newsSent, 8}} {
			var err error
			if *c.to, err = m.cells.take(c.bytes); err != nil {
				return err
			}
		}
		if err := m.listen(l); err != nil {
			return err
		}
		m.links = append(m.links, l)
	}
	return nil
}

// listen expects the next sign.
func (m *mpiWorld) listen(l *link) error {
	l.hear.clear()
	return m.call("MPI_Irecv", m.irecv, l.in.addr(), signBytes, m.bytes, uintptr(l.from), tagLife, m.control, l.hear.addr())
}

// send begins to send a sign.
func (m *mpiWorld) send(l *link, what, sent cell, s sign) error {
	s.put(what)
	sent.clear()
	return m.call("MPI_Isend", m.isend, what.addr(), signBytes, m.bytes, uintptr(l.to), tagLife, m.control, sent.addr())
}

func (m *mpiWorld) tick() error {
	now := time.Now()
	if now.Sub(m.lastTick) > 4*beatEvery {
		// This process itself was stopped, or starved: the others may have spoken meanwhile.
		for _, l := range m.links {
			l.lastHeard = now
		}
	}
	m.lastTick = now
	if a := m.aborting.Load(); a != nil {
		m.spread(sign{kind: signAbort, rank: uint32(m.rank), text: a.Reason})
		return a
	}
	for _, l := range m.links {
		if err := m.hearLink(l, now); err != nil {
			return err
		}
		if err := m.sayAlive(l, now); err != nil {
			return err
		}
	}
	return nil
}

// hearLink takes what has come over a link.
func (m *mpiWorld) hearLink(l *link, now time.Time) error {
	for !l.deaf {
		ok, err := m.finished(l.hear)
		if err != nil {
			return m.declareDead(l.from, now.Sub(l.lastHeard), err.Error())
		}
		if !ok {
			break
		}
		l.lastHeard = now
		var s sign
		s.get(l.in)
		switch s.kind {
		case signAlive:
			m.noteLate(l, time.Duration(s.silent)*time.Millisecond, now)
		case signDead:
			m.spread(s)
			return &DeadError{Rank: int(s.rank), Seat: m.seat(int(s.rank)), Silent: time.Duration(s.silent) * time.Millisecond, By: int(s.by), Cause: s.text, Call: m.last}
		case signAbort:
			m.spread(s)
			return &AbortError{Rank: int(s.rank), Seat: m.seat(int(s.rank)), Reason: s.text}
		case signBye:
			l.deaf = true
			return nil
		}
		if err := m.listen(l); err != nil {
			return m.declareDead(l.from, 0, err.Error())
		}
	}
	if l.pid != 0 && !l.deaf && !m.leaving && now.Sub(l.lastLook) > beatEvery/2 {
		l.lastLook = now
		if processGone(l.pid) {
			return m.declareDead(l.from, 0, "its process is gone")
		}
	}
	if silent := now.Sub(l.lastHeard); !l.deaf && silent > m.opts.Silence {
		return m.declareDead(l.from, silent, "")
	}
	return nil
}

// processGone reports whether a process has ended, though its parent may not have taken notice.
func processGone(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	_, state, ok := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " ")
	return ok && (strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X"))
}

// sayAlive sends a sign where it is time to.
func (m *mpiWorld) sayAlive(l *link, now time.Time) error {
	if l.sending {
		ok, err := m.finished(l.sent)
		if err != nil {
			return m.declareDead(l.to, 0, err.Error())
		}
		l.sending = !ok
	}
	if l.sending || m.leaving || now.Sub(l.lastSent) < beatEvery {
		return nil
	}
	l.lastSent, l.sending = now, true
	if err := m.send(l, l.out, l.sent, m.alive(now)); err != nil {
		return m.declareDead(l.to, 0, err.Error())
	}
	return nil
}

// alive is the sign that says what this rank does.
func (m *mpiWorld) alive(now time.Time) sign {
	s := sign{kind: signAlive, rank: uint32(m.rank)}
	if m.waiting == nil && !m.awaySince.IsZero() {
		s.silent = uint32(max(1, now.Sub(m.awaySince).Milliseconds()))
	}
	return s
}

// waits keeps what this rank waits in.
func (m *mpiWorld) waits(in *call) {
	now := time.Now()
	m.waiting = in
	if in == nil {
		m.awaySince = now
		return
	}
	m.waitSince, m.last = now, in.String()
	for _, l := range m.links {
		l.noted = false
	}
}

// noteLate tells once that this rank has been waiting for long, and that the other one has called nothing meanwhile.
func (m *mpiWorld) noteLate(l *link, away time.Duration, now time.Time) {
	if m.waiting == nil || l.noted || away < m.opts.Patience || now.Sub(m.waitSince) < m.opts.Patience {
		return
	}
	l.noted = true
	m.opts.note("rank %d has waited for %.0f s in %v: rank %d%v has called nothing for %.0f s",
		m.rank, now.Sub(m.waitSince).Seconds(), *m.waiting, l.from, m.seat(l.from), away.Seconds())
}

// declareDead tells everybody that a rank is gone.
func (m *mpiWorld) declareDead(rank int, silent time.Duration, cause string) error {
	m.spread(sign{kind: signDead, rank: uint32(rank), silent: uint32(silent.Milliseconds()), by: uint32(m.rank), text: cause})
	return &DeadError{Rank: rank, Seat: m.seat(rank), Silent: silent, By: m.rank, Cause: cause, Call: m.last}
}

func (m *mpiWorld) seat(rank int) Seat {
	if rank < len(m.seats) {
		return m.seats[rank]
	}
	return Seat{}
}

// spread sends news over all links, and gives them some time to leave.
func (m *mpiWorld) spread(s sign) {
	for _, l := range m.links {
		if !l.spreading && m.send(l, l.news, l.newsSent, s) == nil {
			l.spreading = true
		}
	}
	for end := time.Now().Add(beatEvery); time.Now().Before(end); time.Sleep(time.Millisecond) {
		all := true
		for _, l := range m.links {
			if !l.spreading {
				continue
			}
			ok, err := m.finished(l.newsSent)
			l.spreading = !ok && err == nil
			all = all && !l.spreading
		}
		if all {
			return
		}
	}
}

// closeLinks says good-bye, and waits for the others'. All ranks do this at the same time.
func (m *mpiWorld) closeLinks() error {
	m.leaving = true
	for _, l := range m.links {
		if err := m.send(l, l.news, l.newsSent, sign{kind: signBye, rank: uint32(m.rank)}); err != nil {
			return err
		}
		l.spreading = true
	}
	return m.poll(awakeWaiting, dozeWaiting, func() (bool, error) {
		all := true
		for _, l := range m.links {
			now := time.Now()
			if err := errors.Join(m.hearLink(l, now), m.sayAlive(l, now)); err != nil {
				return false, err
			}
			if l.spreading {
				ok, err := m.finished(l.newsSent)
				if err != nil {
					return false, err
				}
				l.spreading = !ok
			}
			all = all && l.deaf && !l.spreading && !l.sending
		}
		return all, nil
	})
}

// How long a program has to end itself when the run is lost, and the MPI library to end the process.
const (
	grace      = 500 * time.Millisecond
	abortGrace = time.Second
)

// lost ends this process. The news has been spread; the others have the time to say so before MPI ends them.
func (m *mpiWorld) lost(err error) {
	switch {
	case m.aborting.Load() != nil: // this rank's own wish
	case m.opts.Lost != nil:
		m.opts.Lost(err)
	default:
		fmt.Fprintf(os.Stderr, "rank %d of %d: %v\n", m.rank, m.size, err)
	}
	time.Sleep(grace)
	m.end()
}

// end ends all ranks by MPI_Abort, and this one where that does not come back in time.
func (m *mpiWorld) end() {
	m.once.Do(func() {
		time.AfterFunc(abortGrace, func() { os.Exit(1) })
		_ = m.call("MPI_Abort", m.mpiLib.abort, m.world, 1)
		os.Exit(1)
	})
}

// abort asks the engine's thread to tell the others and to end the job, and ends this process in any case.
func (m *mpiWorld) abort(err error) {
	m.aborting.CompareAndSwap(nil, &AbortError{Rank: m.rank, Seat: m.seat(m.rank), Reason: err.Error()})
	time.Sleep(2*beatEvery + 2*abortGrace)
	os.Exit(1)
}

// diagnose finds out who is behind an error of the library: if a rank has died, its neighbors notice within the time of
// silence.
func (m *mpiWorld) diagnose(err error) error {
	var mpi *MPIError
	if !errors.As(err, &mpi) {
		return err
	}
	for end := time.Now().Add(m.opts.Silence + beatEvery); time.Now().Before(end); time.Sleep(beatEvery / 10) {
		if found := m.tick(); found != nil {
			return found
		}
	}
	return err
}

func (m *mpiWorld) seated(seats []Seat) {
	m.seats = seats
	mine := seats[m.rank]
	for _, l := range m.links {
		if s := seats[l.from]; s.Machine != "" && s.Machine == mine.Machine && s.PIDs != "" && s.PIDs == mine.PIDs {
			l.pid = s.PID
		}
	}
}

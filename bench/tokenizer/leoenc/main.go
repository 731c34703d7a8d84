//go:build unix

// Command leoenc encodes frames for the comparison scripts: it reads texts from
// standard input (length as a little-endian uint32, then the bytes, broken UTF-8
// included) and writes their ids (count as uint32, then int32s). With -time it
// reads everything first and prints the seconds of processor time that encoding
// alone took.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"syscall"
	"time"

	"leolm/tokenizer"
)

func main() {
	legacy := flag.String("legacy", "auto", "auto, on or off")
	anywhere := flag.Bool("anywhere", false, "recognize special tokens anywhere")
	megatron := flag.String("megatron", "", "extra tokens, comma-separated: Megatron semantics")
	timed := flag.Int("time", 0, "passes over the input to time, without output")
	decode := flag.Bool("decode", false, "frames are int32 ids; write texts")
	skip := flag.Bool("skip", false, "with -decode: omit special tokens")
	flag.Parse()
	opt := tokenizer.Options{Legacy: map[string]tokenizer.Legacy{"auto": tokenizer.LegacyAuto, "on": tokenizer.LegacyOn, "off": tokenizer.LegacyOff}[*legacy]}
	if *anywhere {
		opt.Specials = tokenizer.SpecialsAnywhere
	}
	t, err := tokenizer.Open(flag.Arg(0), opt)
	if err != nil {
		log.Fatal(err)
	}
	if *megatron != "" {
		if t, err = tokenizer.Megatron(t, strings.Split(*megatron, ",")...); err != nil {
			log.Fatal(err)
		}
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	var texts []string
	var buf []byte
	var ids []int32
	for {
		var n [4]byte
		if _, err := io.ReadFull(in, n[:]); err == io.EOF {
			break
		} else if err != nil {
			log.Fatal(err)
		}
		size := int(binary.LittleEndian.Uint32(n[:]))
		if cap(buf) < size {
			buf = make([]byte, size)
		}
		buf = buf[:size]
		if _, err := io.ReadFull(in, buf); err != nil {
			log.Fatal(err)
		}
		if *timed > 0 {
			texts = append(texts, string(buf))
			continue
		}
		if *decode {
			ids = ids[:0]
			for i := 0; i < len(buf); i += 4 {
				ids = append(ids, int32(binary.LittleEndian.Uint32(buf[i:])))
			}
			text := t.Decode(ids, *skip)
			binary.Write(out, binary.LittleEndian, uint32(len(text)))
			out.WriteString(text)
			continue
		}
		ids = t.AppendTokens(ids[:0], string(buf))
		w := binary.LittleEndian.AppendUint32(nil, uint32(len(ids)))
		for _, id := range ids {
			w = binary.LittleEndian.AppendUint32(w, uint32(id))
		}
		out.Write(w)
	}
	for range *timed {
		start := cpuTime()
		n := 0
		for _, text := range texts {
			ids = t.AppendTokens(ids[:0], text)
			n += len(ids)
		}
		fmt.Fprintln(out, (cpuTime() - start).Seconds(), n)
	}
}

// cpuTime is what all threads of this process have used so far.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		log.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

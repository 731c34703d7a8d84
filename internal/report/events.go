package report

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"leolm/internal/protobuf"
)

// Events writes a TensorBoard event file: TFRecords (length, masked CRC-32C of it, data, masked CRC-32C) of
// tensorflow.Event messages (tensorflow/core/util/event.proto and framework/summary.proto). The few fields that
// scalars and texts need are encoded by hand. It is not safe for concurrent use.
type Events struct {
	f   *os.File
	now func() time.Time
	buf []byte
}

// OpenEvents begins a new event file in dir; TensorBoard reads all files of a folder together. resume is the
// step that a resumed run continues after, or negative: TensorBoard then forgets later steps of older files.
func OpenEvents(dir string, resume int64) (*Events, error) {
	return openEvents(dir, resume, time.Now)
}

func openEvents(dir string, resume int64, now func() time.Time) (*Events, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "localhost"
	}
	var f *os.File
	for i := range 1000 { // two runs may begin in one second
		name := fmt.Sprintf("events.out.tfevents.%010d.%s.%d.%d", now().Unix(), host, os.Getpid(), i)
		f, err = os.OpenFile(filepath.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if !errors.Is(err, os.ErrExist) {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	e := &Events{f: f, now: now}
	version := e.event(0)
	version = protobuf.AppendBytes(version, 3, []byte("brain.Event:2")) // file_version
	err = e.record(version)
	if err == nil && resume >= 0 {
		start := e.event(resume + 1)
		start = protobuf.AppendBytes(start, 7, protobuf.AppendVarint(nil, 1, 1)) // session_log { status: START }
		err = e.record(start)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return e, nil
}

// event begins an Event with wall_time (1) and step (2).
func (e *Events) event(step int64) []byte {
	b := protobuf.AppendTag(nil, 1, 1)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(e.now().UnixNano())/1e9))
	if step != 0 {
		b = protobuf.AppendVarint(b, 2, step)
	}
	return b
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is TensorFlow's CRC: rotated by 15 and shifted, because a CRC of data that holds CRCs is weak.
func masked(b []byte) uint32 {
	c := crc32.Checksum(b, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

func (e *Events) record(data []byte) error {
	b := binary.LittleEndian.AppendUint64(e.buf[:0], uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, masked(b[:8]))
	b = append(b, data...)
	b = binary.LittleEndian.AppendUint32(b, masked(data))
	e.buf = b
	if _, err := e.f.Write(b); err != nil {
		return fmt.Errorf("TensorBoard events: %w", err)
	}
	return nil
}

// Write adds the row's values as scalars and its texts as TensorBoard texts (Markdown).
func (e *Events) Write(r Row) error {
	if len(r.Values)+len(r.Texts) == 0 {
		return nil
	}
	var summary []byte
	for _, k := range slices.Sorted(maps.Keys(r.Values)) {
		v := protobuf.AppendBytes(nil, 1, []byte(k))         // tag
		v = protobuf.AppendFloat(v, 2, float32(r.Values[k])) // simple_value
		summary = protobuf.AppendBytes(summary, 1, v)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Texts)) {
		v := protobuf.AppendBytes(nil, 1, []byte(k))
		tensor := protobuf.AppendVarint(nil, 1, 7)                                                               // dtype: DT_STRING
		tensor = protobuf.AppendBytes(tensor, 2, protobuf.AppendBytes(nil, 2, protobuf.AppendVarint(nil, 1, 1))) // tensor_shape { dim { size: 1 } }
		tensor = protobuf.AppendBytes(tensor, 8, []byte(r.Texts[k]))                                             // string_val
		v = protobuf.AppendBytes(v, 8, tensor)
		v = protobuf.AppendBytes(v, 9, protobuf.AppendBytes(nil, 1, protobuf.AppendBytes(nil, 1, []byte("text")))) // metadata { plugin_data { plugin_name } }
		summary = protobuf.AppendBytes(summary, 1, v)
	}
	return e.record(protobuf.AppendBytes(e.event(r.Step), 5, summary))
}

// Sync forces the events to disk.
func (e *Events) Sync() error { return e.f.Sync() }

// Close syncs and closes the file.
func (e *Events) Close() error { return errors.Join(e.f.Sync(), e.f.Close()) }

package shard_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"leolm/chat"
	"leolm/dataset/shard"
)

// Samples are written once and read in any order, as other programs read them, too.
func ExampleNewWriter() {
	dir, err := os.MkdirTemp("", "leo")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	w, err := shard.NewWriter(filepath.Join(dir, "data"), shard.Record{Vocab: 300})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	user, assistant := uint8(chat.User), uint8(chat.Assistant)
	if err := w.Add(shard.Sample{IDs: []int32{11, 12, 21}, Roles: []uint8{user, user, assistant}}); err != nil {
		log.Fatal(err)
	}
	if err := w.Commit(); err != nil {
		log.Fatal(err)
	}

	shards, err := shard.Open(filepath.Join(dir, "data"))
	if err != nil {
		log.Fatal(err)
	}
	defer shards.Close()
	s := shards.Sample(0)
	fmt.Println(shards.Len(), "sample of", shards.IDs(), "ids:", s.IDs, "the last is the", shard.RoleOf(s.Roles[2]))
	// Output: 1 sample of 3 ids: [11 12 21] the last is the assistant
}

package apikey_test

import (
	"fmt"
	"os"
	"path/filepath"

	"leolm/serve/apikey"
)

// A key is made, its hash stored, and found again by what a request brings.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "keys")
	secret, line, err := apikey.New("alice")
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := apikey.Append(path, line+" requests=60 tokens=20000"); err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.Open(path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(keys.Find(secret).Name, keys.Find("guessed") == nil)
	// Output: alice true
}

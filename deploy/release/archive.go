package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"leolm/internal/durable"
)

// entry is a file of an archive.
type entry struct {
	name    string // with slashes, below the archive's folder
	data    []byte
	program bool // may be executed
}

func (e entry) mode() int64 {
	if e.program {
		return 0o755
	}
	return 0o644
}

// writeArchive puts files into one folder of a .tar.gz or .zip. The same files and time give the same bytes.
func writeArchive(path, folder string, files []entry, at time.Time) error {
	files = slices.SortedFunc(slices.Values(files), func(a, b entry) int { return strings.Compare(a.name, b.name) })
	write := writeTar
	if filepath.Ext(path) == ".zip" {
		write = writeZip
	}
	return durable.WriteTo(path, func(w io.Writer) error { return write(w, folder, files, at) })
}

func writeTar(w io.Writer, folder string, files []entry, at time.Time) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	t := tar.NewWriter(z)
	for _, f := range files {
		head := &tar.Header{Name: folder + "/" + f.name, Mode: f.mode(), Size: int64(len(f.data)), ModTime: at, Format: tar.FormatPAX}
		if err := t.WriteHeader(head); err != nil {
			return err
		}
		if _, err := t.Write(f.data); err != nil {
			return err
		}
	}
	return errors.Join(t.Close(), z.Close())
}

func writeZip(w io.Writer, folder string, files []entry, at time.Time) error {
	z := zip.NewWriter(w)
	for _, f := range files {
		head := &zip.FileHeader{Name: folder + "/" + f.name, Method: zip.Deflate, Modified: at}
		head.SetMode(os.FileMode(f.mode()))
		part, err := z.CreateHeader(head)
		if err != nil {
			return err
		}
		if _, err := part.Write(f.data); err != nil {
			return err
		}
	}
	return z.Close()
}

var licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// licenseFiles reads the licenses in a module's folder, of which there must be one at least.
func licenseFiles(dir string) ([]entry, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []entry
	for _, f := range list {
		if f.IsDir() || !licenseName.MatchString(f.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, entry{name: f.Name(), data: data})
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no license in %s", dir)
	}
	return files, nil
}

// checksums are those of files in a folder, as sha256sum -c reads them.
func checksums(dir string, names []string) (string, error) {
	var b strings.Builder
	for _, name := range names {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return "", err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%x  %s\n", sum.Sum(nil), name)
	}
	return b.String(), nil
}

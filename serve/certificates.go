package serve

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Certificates are a certificate and its key in files. They are read again when the files have changed, also when links
// point elsewhere; until the new ones can be read, the old ones count.
type Certificates struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    [2]fs.FileInfo
	checked time.Time
}

// certificateCheck is how often the files are looked at.
const certificateCheck = time.Second

// OpenCertificates reads a certificate with those that vouch for it, and its key, both as PEM.
func OpenCertificates(cert, key string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{cert: cert, key: key, log: log}
	var err error
	if c.seen, err = c.stat(); err != nil {
		return nil, err
	}
	if err := c.read(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificates) stat() (infos [2]fs.FileInfo, err error) {
	var err1, err2 error
	infos[0], err1 = os.Stat(c.cert)
	infos[1], err2 = os.Stat(c.key)
	return infos, errors.Join(err1, err2)
}

func (c *Certificates) read() error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.current, c.checked = &pair, time.Now()
	return nil
}

// get is tls.Config.GetCertificate.
func (c *Certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certificateCheck {
		return c.current, nil
	}
	c.checked = time.Now()
	now, err := c.stat()
	if err == nil && sameFile(now[0], c.seen[0]) && sameFile(now[1], c.seen[1]) {
		return c.current, nil
	}
	if err == nil {
		c.seen = now
		err = c.read()
	}
	if err != nil {
		c.log.Error("a changed certificate cannot be read; the old one is used", "error", err)
	} else {
		c.log.Info("read a changed certificate", "file", c.cert)
	}
	return c.current, nil
}

func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

package train

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// outputNotes say what a run of so many steps would find in its output folder: whether it can be written, and what becomes
// of a run that is there already. data may be nil. Nothing is left behind.
func (c *Config) outputNotes(data *feed, steps int) []string {
	if err := tryFolder(c.Output); err != nil {
		return []string{fmt.Sprintf("the run would fail: the output folder can't be written: %v", err)}
	}
	dir := filepath.Join(c.Output, "checkpoints")
	done, err := committed(dir)
	if err != nil {
		return []string{fmt.Sprintf("the run would fail: %v", err)}
	}
	for _, d := range slices.Backward(done) {
		s, _, err := readState(filepath.Join(dir, d.name))
		if damaged(err) {
			continue // as the run does
		}
		if err == nil {
			err = c.goesOn(&s, data, steps)
		}
		switch {
		case err != nil:
			return []string{fmt.Sprintf("the run would be refused: %s: %v", filepath.Join(dir, d.name), err)}
		case s.Step >= s.Total:
			return []string{fmt.Sprintf("%s holds the finished run: all %d steps are done", c.Output, s.Total)}
		}
		return []string{fmt.Sprintf("%s holds an unfinished run: it would be resumed at step %d of %d", c.Output, s.Step, s.Total)}
	}
	return nil
}

// goesOn tells whether the recipe can go on from a checkpoint, as far as a plan sees.
func (c *Config) goesOn(s *state, data *feed, steps int) error {
	if err := c.sameRecipe(s); err != nil {
		return err
	}
	if data == nil {
		return nil // nor is the number of steps known for sure
	}
	for _, o := range data.opened {
		if then, ok := s.Data[o.key]; ok && then != o.Identity() {
			return s.otherData(o.key, o.Identity())
		}
	}
	return sameSteps(s, steps)
}

// tryFolder reports why a folder, which need not exist yet, can't be written.
func tryFolder(dir string) error {
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		dir = filepath.Dir(dir)
		info, err = os.Stat(dir)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return &fs.PathError{Op: "open", Path: dir, Err: syscall.ENOTDIR}
	}
	f, err := os.CreateTemp(dir, ".leo-plan-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

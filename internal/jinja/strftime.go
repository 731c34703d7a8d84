package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// strftime formats a time as C's function does, in English.
func strftime(t time.Time, f string) string {
	var b strings.Builder
	for i := 0; i < len(f); i++ {
		if f[i] != '%' || i+1 == len(f) {
			b.WriteByte(f[i])
			continue
		}
		i++
		padded := f[i] != '-' || i+1 == len(f)
		if !padded {
			i++
		}
		if v, width, ok := timeNumber(t, f[i]); ok {
			if !padded {
				width = 0
			}
			fmt.Fprintf(&b, "%0*d", width, v)
		} else if layout, ok := timeLayouts[f[i]]; ok {
			b.WriteString(t.Format(layout))
		} else {
			b.WriteString(timeText(t, f[i]))
		}
	}
	return b.String()
}

// timeNumber is what a directive counts, and the digits to which zeros fill it.
func timeNumber(t time.Time, directive byte) (v, width int, ok bool) {
	switch directive {
	case 'Y':
		return t.Year(), 0, true
	case 'y':
		return t.Year() % 100, 2, true
	case 'm':
		return int(t.Month()), 2, true
	case 'd':
		return t.Day(), 2, true
	case 'H':
		return t.Hour(), 2, true
	case 'I':
		return (t.Hour()+11)%12 + 1, 2, true
	case 'M':
		return t.Minute(), 2, true
	case 'S':
		return t.Second(), 2, true
	case 'f':
		return t.Nanosecond() / 1000, 6, true
	case 'j':
		return t.YearDay(), 3, true
	case 'w':
		return int(t.Weekday()), 0, true
	case 'u':
		return (int(t.Weekday())+6)%7 + 1, 0, true
	}
	return 0, 0, false
}

// timeLayouts are directives in the terms of Go.
var timeLayouts = map[byte]string{
	'e': "_2", 'B': "January", 'b': "Jan", 'h': "Jan", 'A': "Monday", 'a': "Mon", 'p': "PM",
	'F': "2006-01-02", 'T': "15:04:05", 'X': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'x': "01/02/06",
	'c': "Mon Jan _2 15:04:05 2006",
}

// timeText is what remains; a directive that C doesn't know stays as it is.
func timeText(t time.Time, directive byte) string {
	switch directive {
	case 's':
		return strconv.FormatInt(t.Unix(), 10)
	case 'Z', 'z': // datetime.now() has no zone
		return ""
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case '%':
		return "%"
	}
	return "%" + string([]byte{directive})
}

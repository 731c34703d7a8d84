package lineedit

import (
	"bytes"
	"unicode/utf8"
)

type keyName int

const (
	keyNone keyName = iota // does nothing
	keyText
	keyPaste
	keyEnter
	keyNewline
	keyInterrupt
	keyEOF
	keyDelete
	keyBackspace
	keyLeft
	keyRight
	keyWordLeft
	keyWordRight
	keyHome
	keyEnd
	keyUp
	keyDown
	keyOlder
	keyNewer
	keyKillWord
	keyKillWordLeft
	keyKillWordRight
	keyKillStart
	keyKillEnd
	keyYank
	keySwap
	keyClear
	keySearch
	keyCancel
)

type key struct {
	name keyName
	text string
}

// controls are the keys that send one byte.
var controls = map[byte]keyName{
	'\r': keyEnter, '\n': keyEnter, 3: keyInterrupt, 4: keyEOF, 8: keyBackspace, 127: keyBackspace,
	1: keyHome, 5: keyEnd, 2: keyLeft, 6: keyRight, 16: keyOlder, 14: keyNewer,
	11: keyKillEnd, 21: keyKillStart, 23: keyKillWord, 25: keyYank, 20: keySwap, 12: keyClear, 18: keySearch, 7: keyCancel,
}

// meta are the keys after ESC.
var meta = map[byte]keyName{
	'\r': keyNewline, '\n': keyNewline, 'b': keyWordLeft, 'B': keyWordLeft, 'f': keyWordRight, 'F': keyWordRight,
	'd': keyKillWordRight, 'D': keyKillWordRight, 8: keyKillWordLeft, 127: keyKillWordLeft,
}

// sequences are the keys after ESC [ and ESC O. xterm puts modifiers after a semicolon; rxvt has letters of its own.
var sequences = map[string]keyName{
	"[A": keyUp, "OA": keyUp, "[B": keyDown, "OB": keyDown, "[C": keyRight, "OC": keyRight, "[D": keyLeft, "OD": keyLeft,
	"[H": keyHome, "OH": keyHome, "[1~": keyHome, "[7~": keyHome, "[F": keyEnd, "OF": keyEnd, "[4~": keyEnd, "[8~": keyEnd,
	"[3~": keyDelete, "OM": keyEnter,
	"[1;5C": keyWordRight, "[1;3C": keyWordRight, "[5C": keyWordRight, "Oc": keyWordRight,
	"[1;5D": keyWordLeft, "[1;3D": keyWordLeft, "[5D": keyWordLeft, "Od": keyWordLeft,
	"[3;5~": keyKillWordRight, "[3;3~": keyKillWordRight,
	"[13;2u": keyNewline, "[27;2;13~": keyNewline, // Shift-Enter
}

const (
	pasteBegin = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
	// maxPaste bounds a paste whose end never comes.
	maxPaste = 64 << 20
)

// nextKey takes a key off the input; n is 0 if its end is still to come.
func nextKey(input []byte) (k key, n int) {
	if len(input) == 0 {
		return key{}, 0
	}
	if input[0] == 0x1b {
		return escape(input)
	}
	if name, ok := controls[input[0]]; ok {
		return key{name: name}, 1
	}
	// Text up to the next control character is inserted at once.
	for n < len(input) && input[n] >= ' ' && input[n] != 127 {
		if !utf8.FullRune(input[n:]) {
			break
		}
		_, size := utf8.DecodeRune(input[n:])
		n += size
	}
	switch {
	case n > 0:
		return key{keyText, clean(string(input[:n]))}, n
	case input[0] < ' ':
		return key{}, 1
	}
	return key{}, 0 // the beginning of a character
}

func escape(input []byte) (key, int) {
	if len(input) == 1 {
		return key{}, 0
	}
	if bytes.HasPrefix(input, []byte(pasteBegin)) {
		end := bytes.Index(input, []byte(pasteEnd))
		switch {
		case end >= 0:
			return key{keyPaste, clean(string(input[len(pasteBegin):end]))}, end + len(pasteEnd)
		case len(input) > maxPaste:
			return key{keyPaste, clean(string(input[len(pasteBegin):]))}, len(input)
		}
		return key{}, 0
	}
	switch input[1] {
	case '[':
		// Parameters, then a last byte.
		for i := 2; i < len(input); i++ {
			switch c := input[i]; {
			case c >= 0x40 && c <= 0x7e:
				if c == '[' && i == 2 { // function keys of the Linux console: ESC [ [ A
					if len(input) == 3 {
						return key{}, 0
					}
					return key{}, 4
				}
				return key{name: sequences[string(input[1:i+1])]}, i + 1
			case c < 0x20 || c > 0x7e || i > 32:
				return key{}, i // no sequence after all
			}
		}
		return key{}, 0
	case 'O':
		if len(input) == 2 {
			return key{}, 0
		}
		return key{name: sequences[string(input[1:3])]}, 3
	case 0x1b:
		return key{}, 1
	}
	if name, ok := meta[input[1]]; ok {
		return key{name: name}, 2
	}
	if input[1] < utf8.RuneSelf {
		return key{}, 2
	}
	return key{}, 1
}

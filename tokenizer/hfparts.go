package tokenizer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

func flatten(p *hfPart, parts func(*hfPart) []*hfPart, depth int) ([]*hfPart, error) {
	if p == nil {
		return nil, nil
	}
	if p.Type != "Sequence" {
		return []*hfPart{p}, nil
	}
	if depth > 8 {
		return nil, errors.New("sequences are nested too deeply")
	}
	var all []*hfPart
	for _, q := range parts(p) {
		list, err := flatten(q, parts, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func (p *hfPattern) compile() (*pattern, error) {
	switch {
	case p == nil || p.String == nil && p.Regex == nil:
		return nil, errors.New("a pattern is missing")
	case p.String != nil:
		return &pattern{literal: *p.String}, nil
	}
	return newPattern(*p.Regex)
}

// normalizers reads the normalizer. The pair Prepend "▁", Replace " " by "▁" at
// its end becomes the engine's own form: spaces, and a prefix.
func (e *hfEngine) normalizers(p *hfPart) error {
	list, err := flatten(p, func(p *hfPart) []*hfPart { return p.Normalizers }, 0)
	if err != nil {
		return err
	}
	isPrepend := func(q *hfPart) bool { return q.Type == "Prepend" && q.Prepend == meta }
	isReplace := func(q *hfPart) bool {
		return q.Type == "Replace" && q.Content == meta && q.Pattern != nil && q.Pattern.String != nil && *q.Pattern.String == " "
	}
	if n := len(list); n >= 1 && isReplace(list[n-1]) {
		e.spaces = true
		list = list[:n-1]
		if n >= 2 && isPrepend(list[n-2]) {
			e.prepend = true
			list = list[:n-2]
		}
	} else if n >= 2 && isReplace(list[n-2]) && isPrepend(list[n-1]) {
		e.spaces, e.prepend = true, true
		list = list[:n-2]
	}
	for _, q := range list {
		var step normStep
		switch q.Type {
		case "NFC":
			step = formNFC
		case "NFD":
			step = formNFD
		case "NFKC":
			step = formNFKC
		case "NFKD":
			step = formNFKD
		case "Lowercase":
			step = mapRunes(lowercase)
		case "StripAccents":
			step = mapRunes(stripAccents)
		case "Strip":
			step = trimSpace{q.StripLeft, q.StripRight}
		case "Prepend":
			step = prepend{q.Prepend}
		case "Replace":
			pat, err := q.Pattern.compile()
			if err != nil {
				return fmt.Errorf("normalizer Replace: %w", err)
			}
			if pat.re == nil {
				step = replaceText{pat.literal, q.Content}
			} else {
				step = replaceMatches{pat, q.Content}
			}
		default:
			return fmt.Errorf("normalizer %q isn't supported", q.Type)
		}
		e.norms = append(e.norms, step)
	}
	return checkGrowth(e.norms)
}

// The expressions that wordRule matches by hand, as files spell them.
var knownRules = map[string]*wordRule{
	`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                                                       ruleGPT2,
	`(?:'s|'t|'re|'ve|'m|'ll|'d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                                                   ruleGPT2,
	`'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`:                                                                          ruleGPT2,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:                              ruleLlama3,
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`:                                   ruleQwen2,
	`(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: {modern: true, digits: 3, noLongS: true},
}

// preTokenizers reads the pre-tokenizer and reports whether words are bytes.
func (e *hfEngine) preTokenizers(p *hfPart) (byteLevel bool, err error) {
	list, err := flatten(p, func(p *hfPart) []*hfPart { return p.Pretokenizers }, 0)
	if err != nil {
		return false, err
	}
	var behind []preStep // behind ByteLevel: on bytes in their alphabet
	for _, q := range list {
		switch q.Type {
		case "ByteLevel":
			if byteLevel {
				return false, errors.New("a second ByteLevel isn't supported")
			}
			byteLevel = true
			if q.PrefixSpace == nil || *q.PrefixSpace {
				e.pre = append(e.pre, prefixStep{})
			}
			if q.UseRegex == nil || *q.UseRegex {
				e.pre = append(e.pre, ruleStep{ruleGPT2})
			}
		case "Metaspace":
			if len(list) > 1 {
				return false, errors.New("pre-tokenizer Metaspace is supported only alone")
			}
			if err := e.metaspace(q); err != nil {
				return false, err
			}
		default:
			step, err := q.preStep()
			if err != nil {
				return false, err
			}
			if byteLevel {
				behind = append(behind, step)
			} else {
				e.pre = append(e.pre, step)
			}
		}
	}
	if len(behind) > 0 {
		e.pre = append(e.pre, byteSteps(behind))
	}
	return byteLevel, nil
}

// preStep is a pre-tokenizer that only cuts.
func (p *hfPart) preStep() (preStep, error) {
	switch p.Type {
	case "Digits":
		return digitsStep{p.Individual}, nil
	case "Punctuation":
		behavior := cmp.Or(p.Behavior, "Isolated")
		if !slices.Contains(splitBehaviors, behavior) {
			return nil, fmt.Errorf("pre-tokenizer Punctuation: unknown behavior %q", behavior)
		}
		find, err := newPattern(punctuation)
		return splitStep{find, behavior, false}, err
	case "Split":
		if rule := p.rule(); rule != nil {
			return ruleStep{rule}, nil
		}
		if p.Pattern != nil && p.Pattern.Regex != nil && p.Behavior == "Isolated" && !p.Invert {
			if groups, ok := knownGroups[*p.Pattern.Regex]; ok {
				return groups, nil
			}
		}
		pat, err := p.Pattern.compile()
		if err != nil {
			return nil, fmt.Errorf("pre-tokenizer Split: %w", err)
		}
		if !slices.Contains(splitBehaviors, p.Behavior) {
			return nil, fmt.Errorf("pre-tokenizer Split: unknown behavior %q", p.Behavior)
		}
		return splitStep{pat, p.Behavior, p.Invert}, nil
	}
	return nil, fmt.Errorf("pre-tokenizer %q isn't supported", p.Type)
}

var splitBehaviors = []string{"Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"}

// punctuation is what the step Punctuation takes for it.
const punctuation = `[!-/:-@\[-` + "`" + `{-~\p{P}]`

// rule is the rule that a Split with one of the known expressions follows, or nil.
func (p *hfPart) rule() *wordRule {
	if p.Pattern == nil || p.Pattern.Regex == nil {
		return nil
	}
	// The expressions match every character, so that nothing lies between words.
	if p.Behavior == "Isolated" && !p.Invert || p.Behavior == "Removed" && p.Invert {
		return knownRules[*p.Pattern.Regex]
	}
	return nil
}

// metaspace reads the pre-tokenizer Metaspace.
func (e *hfEngine) metaspace(p *hfPart) error {
	if p.Replacement != meta {
		return fmt.Errorf("pre-tokenizer Metaspace with %q for a space isn't supported", p.Replacement)
	}
	s := metaStep{split: p.Split == nil || *p.Split}
	switch {
	case p.Scheme == "first":
		s.first = true
	case p.Scheme == "never" || p.Scheme == "" && p.PrefixSpace != nil && !*p.PrefixSpace:
		s.never = true
	case p.Scheme == "always" || p.Scheme == "":
	default:
		return fmt.Errorf("pre-tokenizer Metaspace: unknown prepend_scheme %q", p.Scheme)
	}
	e.meta = &s
	e.spaces = true
	return nil
}

// override applies Options.Legacy to a tokenizer of Llama's kind.
func (e *hfEngine) override(l Legacy) {
	llama := e.prepend || e.meta != nil && !e.meta.never && !e.meta.split
	if !llama {
		return
	}
	switch l {
	case LegacyOn:
		e.prepend, e.meta = true, nil
	case LegacyOff:
		e.prepend, e.meta = false, &metaStep{first: true}
	}
}

// llamaClass reports whether tokenizer_config.json leaves the way of spaces to it, as
// Hugging Face's class for Llama does; the generic ones take tokenizer.json's.
func (c *fileConfig) llamaClass() bool {
	return c.class == "" || strings.HasPrefix(c.class, "Llama") || strings.HasPrefix(c.class, "CodeLlama")
}

// noPrefix reports whether text gets no space in front, whatever the vocabulary's own file says.
func (c *fileConfig) noPrefix() bool {
	return c.prefixSpace != nil && !*c.prefixSpace && c.llamaClass()
}

// prefixSpace applies tokenizer_config.json's add_prefix_space, as the classes for Llama and
// GPT-2 do.
func (e *hfEngine) prefixSpace(c *fileConfig, byteLevel bool) {
	switch {
	case c.prefixSpace == nil:
	case byteLevel && strings.HasPrefix(c.class, "GPT2"):
		e.pre = slices.DeleteFunc(e.pre, func(s preStep) bool { _, is := s.(prefixStep); return is })
		if *c.prefixSpace {
			e.pre = append([]preStep{prefixStep{}}, e.pre...)
		}
	case !byteLevel && c.noPrefix() && (e.prepend || e.meta != nil && !e.meta.split):
		e.prepend, e.meta = false, &metaStep{never: true}
	}
}

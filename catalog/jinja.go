package catalog

import (
	"errors"
	"strings"

	"leolm/chat"
)

func parseTemplate(src string) (*chat.Template, error) {
	if strings.Contains(src, "<|im_start|>") {
		return chat.FindTemplate("card-run")
	}
	return nil, errors.New("only ChatML so far")
}

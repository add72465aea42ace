package main

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"esimflow/internal/deadletter"
)

func newDLQShowCommand(c *cli) *cobra.Command {
	return showing(aLetter, c, &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter with the request as it arrived",
		Long: `Show one dead letter with the headers and the bytes of the request as they arrived: as text if
they are, and otherwise in hexadecimal.`,
	}, writeLetter)
}

func writeLetter(w io.Writer, l deadletter.Letter) error {
	sagaID := "none: the request was not accepted"
	if l.SagaID != nil {
		sagaID = l.SagaID.String()
	}
	replayable := "yes"
	if !l.Replayable {
		replayable = "no"
	}
	var resolved string
	if l.ResolvedAt != nil {
		resolved = fmt.Sprintf("%s by %s: %s", instant(*l.ResolvedAt), l.Actor, l.Note)
	}
	err := writeFields(w,
		"dead letter", l.ID.String(), "kind", string(l.Kind), "request", l.RequestID, "saga", sagaID,
		"code", l.Code, "class", l.Class, "reason", l.Reason, "stopped in", l.State,
		"attempts", strconv.Itoa(l.Attempts), "bought", string(l.Purchased), "replayable", replayable,
		"package", l.PackageID, "iccid", l.ICCID, "created", instant(l.CreatedAt), "status", l.Status, "resolved", resolved,
		"arrived", fmt.Sprintf("message %d on %s", l.Sequence, l.Subject))
	if err != nil {
		return err
	}
	var headers table
	for name, values := range l.Headers {
		for _, value := range values {
			headers.add(name, value)
		}
	}
	slices.SortFunc(headers.rows, slices.Compare)
	if len(headers.rows) > 0 {
		if _, err := io.WriteString(w, "\nheaders\n"); err != nil {
			return err
		}
		if err := headers.write(w); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "\nbody, %d bytes\n%s", len(l.Body), readable(l.Body))
	return err
}

// readable is bytes as text if that is what they are, and otherwise as a dump.
func readable(body []byte) string {
	text := string(body)
	strange := func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }
	switch {
	case text == "":
		return ""
	case !utf8.ValidString(text) || strings.ContainsFunc(text, strange):
		return hex.Dump(body)
	}
	return strings.TrimSuffix(text, "\n") + "\n"
}

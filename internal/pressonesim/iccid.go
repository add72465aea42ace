package pressonesim

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// exampleICCID is the one of the documentation's examples.
const exampleICCID = "8934000000000008728"

// defaultSims is how many active eSIMs a simulator starts with.
const defaultSims = 12

// DefaultICCIDs returns the eSIMs that exist before anything is sold: active,
// on bonbon-mobile, ready to be topped up. The first is 8934000000000008728.
func DefaultICCIDs() []string {
	ids := make([]string, 0, defaultSims)
	ids = append(ids, exampleICCID)
	for i := 1; i < defaultSims; i++ {
		ids = append(ids, withLuhn(fmt.Sprintf("8934000000000%05d", 900+i)))
	}
	return ids
}

// iccidFor is the ICCID of the n-th eSIM sold: 19 digits, every fourth 20, and
// none of DefaultICCIDs, whose digits after 8934 start with zeros.
func iccidFor(n int) string {
	if n%4 == 3 {
		return withLuhn(fmt.Sprintf("8934071%012d", n))
	}
	return withLuhn(fmt.Sprintf("8934071%011d", n))
}

// matchingIDFor is unique for each ICCID and looks random.
func matchingIDFor(iccid string) string {
	sum := sha256.Sum256([]byte("matching-id/" + iccid))
	return strings.ToUpper(hex.EncodeToString(sum[:10]))
}

// withLuhn appends the check digit of ITU-T E.118.
func withLuhn(body string) string {
	sum := 0
	for i := range len(body) {
		d := int(body[len(body)-1-i] - '0')
		if i%2 == 0 {
			d *= 2
			if d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return body + string(rune('0'+(10-sum%10)%10))
}

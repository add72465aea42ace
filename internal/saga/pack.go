package saga

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/klauspost/compress/s2"

	"esimflow/internal/seal"
)

// PressOne's answers are the largest thing that is written about a saga, and mostly its
// fields' names. They are kept as S2 blocks with a dictionary, behind a byte that says so.
// Whatever begins otherwise is as it came: what is too short to gain anything, and what
// versions before wrote. What is packed is then sealed, if there is a key: see seal.go.

// packedV1 marks what was packed with answerDictionary. Another dictionary needs another mark.
const packedV1 = 0x01

// answerDictionary is what PressOne documents an order to look like. It must never change: what
// was packed with it could not be read any more.
const answerDictionary = `"imsis":null,"airalo_code":null,"apn_type":"manual","apn_value":"N/A","confirmation_code":null,"is_roaming":false,"is_roaming":null,` +
	`"pricing_model":"discount_pricing","discount_percentage":0,"discount_amount":0,"unit_paid_price":0,"total_amount_paid":0,"type":"topup",` +
	`"validity":"30","quantity":1,"data":"Unlimited","net_price":null,"manual_installation":"\u003cp\u003e\u003cb\u003e","\u003c/b\u003e\u003c/p\u003e","status":{"name":"Completed","slug":"completed"},` +
	`{"data":{"id":9666,"code":"20230227-009666","currency":"USD","package_id":"-7days-1gb","quantity":"1","type":"sim","description":"","esim_type":"Prepaid",` +
	`"validity":7,"package":"-1 GB - 7 Days","data":"1 GB","price":9.5,"net_price":7.6,"pricing_model":"net_pricing","created_at":"2023-02-27 14:09:55",` +
	`"manual_installation":"","qrcode_installation":"","installation_guides":{"en":"https://"},"text":null,"voice":null,"brand_settings_name":null,` +
	`"sims":[{"id":11015,"created_at":"2023-02-27 14:09:55","iccid":"8934","lpa":"","imsis":null,"matching_id":"","qrcode":"LPA:1$","qrcode_url":"https://",` +
	`"direct_apple_installation_url":"https://esimsetup.apple.com/esim_qrcode_provisioning?carddata=LPA:1$","airalo_code":null,"apn_type":"automatic","apn_value":null,` +
	`"is_roaming":true,"confirmation_code":null,"apn":{"ios":{"apn_type":"automatic","apn_value":null},"android":{"apn_type":"automatic","apn_value":null}},"msisdn":null}]},` +
	`"meta":{"message":"success"}}`

// packable is the shortest answer, in bytes, that is packed.
const packable = 128

// answerMax bounds what an answer unpacks to, in bytes: the client reads no longer ones.
const answerMax = 64 << 20

var dictionary = s2.MakeDict([]byte(answerDictionary), nil)

// pack returns an answer as it is kept.
func pack(answer []byte) []byte {
	if len(answer) < packable && !bytes.HasPrefix(answer, []byte{packedV1}) && !bytes.HasPrefix(answer, []byte{seal.Mark}) {
		return orEmptyBytes(answer)
	}
	kept := make([]byte, 1+s2.MaxEncodedLen(len(answer)))
	kept[0] = packedV1
	return kept[:1+len(dictionary.Encode(kept[1:], answer))]
}

// unpack returns an answer as it came.
func unpack(kept []byte) ([]byte, error) {
	if !bytes.HasPrefix(kept, []byte{packedV1}) {
		return kept, nil
	}
	size, err := s2.DecodedLen(kept[1:])
	if err == nil && size > answerMax {
		err = errors.New("too large")
	}
	if err == nil {
		kept, err = dictionary.Decode(nil, kept[1:])
	}
	if err != nil {
		return nil, fmt.Errorf("saga: kept answer: %w", err)
	}
	return kept, nil
}

"""The mistakes of DL/T 645 and CJ/T 188 profiles are found when they are read, each with its place."""

import pytest

from models.document import DocumentMistakes
from models.profile import load_profile
from models.profile.cjt188 import Cjt188Profile
from models.profile.dlt645 import Dlt645Profile

DLT645 = """
profile: mine
version: "1"
title: Mine
family: dlt645
verified: true
source: this test
dlt645:
  edition: "2007"
  blocks:
    - {di: 0x0201FF00, points: [first_v, second_v]}
points:
  - {name: first_v, unit: V, kind: gauge, di: 0x02010100, length: 2, scale: 0.1}
  - {name: second_v, unit: V, kind: gauge, di: 0x02010200, length: 2, scale: 0.1}
  - {name: clock_time_s, unit: s, kind: gauge, di: 0x04000102, length: 3, type: time}
golden:
  - request: FE FE 68 61 01 00 00 00 00 68 11 04 33 34 34 35 17 16
    reply: 68 61 01 00 00 00 00 68 91 06 33 34 34 35 34 43 10 16
    values: {first_v: 100.1}
    source: hwhale.com article 138066
"""

CJT188 = """
profile: mine
version: "1"
title: Mine
family: cjt188
verified: true
source: this test
cjt188:
  edition: "2004"
  meter_type: 0x10
  reads: [{di: 0x901F, length: 19}]
  units: [{code: 0x2C, unit: m3, source: this test, verified: true}]
points:
  - {name: volume_m3, unit: m3, kind: counter, at: 0, length: 4, unit_at: 4, scale: 0.01}
  - {name: clock_s, unit: s, kind: gauge, at: 10, length: 7, type: date_time}
  - {name: valve_state, unit: "", kind: state, at: 17, length: 2, type: bits, bit: 0, bits: 2}
golden:
  - request: 68 10 44 33 22 11 00 33 78 01 03 1F 90 00 80 16
    reply: >-
      68 10 44 33 22 11 00 33 78 81 16 1F 90 00 00 77 66 55 2C 00 77 66 55 2C 31 01 22 11 05 15 20 21 84 13 16
    values: {volume_m3: 556677.0}
    source: hftangyu.com/563.html
"""


def mistakes(text: str) -> str:
    with pytest.raises(DocumentMistakes) as raised:
        load_profile(text, "mine.yaml")
    return "\n".join(map(str, raised.value.problems))


def test_profiles_without_mistakes_are_read() -> None:
    assert isinstance(load_profile(DLT645, "mine.yaml"), Dlt645Profile)
    assert isinstance(load_profile(CJT188, "mine.yaml"), Cjt188Profile)


def test_people_find_a_point_where_the_manual_has_it() -> None:
    first, _, time = load_profile(DLT645, "mine.yaml").points
    assert (first.place, time.place) == ("02010100 bcd", "04000102 time")
    assert [point.place for point in load_profile(CJT188, "mine.yaml").points] == [
        "901F byte 0 bcd",
        "901F byte 10 date_time",
        "901F byte 17 bit 0 to 1",
    ]


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ('edition: "1997"', 'edition: "2007"', "more than the 2 bytes of 1997"),
        ("[first_v, third_v]", "[first_v, second_v]", "there is no point 'third_v'"),
        ("[first_v, first_v]", "[first_v, second_v]", "is in a block above already"),
        ("{di: 0x02010100, points", "{di: 0x0201FF00, points", "is the identifier of a point as well"),
        ("length: 2, scale: 0", "length: 2, scale: 0.1", "must not be 0"),
        ("length: 4, type: time", "length: 3, type: time", "a time has 3 bytes"),
        ("unit: min, kind: gauge, di: 0x0400", "unit: s, kind: gauge, di: 0x0400", "is a gauge in s"),
        ("type: bit}", "type: time}", "a bit needs its place"),
        ("di: 0x02010100, length: 2, scale: 0.1}\n  - {name: second_v, unit: V, kind: gauge, di: 0x02010100",
         "di: 0x02010100, length: 2, scale: 0.1}\n  - {name: second_v, unit: V, kind: gauge, di: 0x02010200",
         "lies over 'first_v'"),
        ("34 43 11 16", "34 43 10 16", "is no reply to this request, or its checksum is wrong"),
        ("68 11 04 33 34 34 35 18 16", "68 11 04 33 34 34 35 17 16", "is no request to read"),
        ("{second_v: 100.1}", "{first_v: 100.1}", "the request does not ask for this point"),
        ("at: 199, length: 2", "length: 2", "ends behind byte 200"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_dlt645_profile_is_told(wrong: str, right: str, said: str) -> None:
    assert right in DLT645
    assert said in mistakes(DLT645.replace(right, wrong))


@pytest.mark.parametrize(
    ("wrong", "right", "said"),
    [
        ("length: 4, unit_at: 4, di: 0x1111", "length: 4, unit_at: 4", "0x1111 is not among the reads"),
        ("at: 17, length: 3", "at: 17, length: 2", "ends behind the 19 bytes"),
        ("unit_at: 19", "unit_at: 4", "lies behind the 19 bytes"),
        ("unit: m5, source", "unit: m3, source", "'m5' is no unit of such meters"),
        ("unit: kWh, source", "unit: m3, source", "no code of cjt188.units means any volume"),
        ("length: 6, type: date_time", "length: 7, type: date_time", "a date_time has 7 bytes"),
        ("bit: 15, bits: 2", "bit: 0, bits: 2", "2 bytes have bits 0 to 15"),
        ("type: bits, bit: 0}", "type: bits, bit: 0, bits: 2}", "bits need `bit` and `bits`"),
        ("kind: gauge, at: 16, length: 7", "kind: gauge, at: 10, length: 7", "lies over 'clock_s'"),
        ("21 84 14 16", "21 84 13 16", "is no reply to this request, or its checksum is wrong"),
        ("01 03 1F 90 00 81 16", "01 03 1F 90 00 80 16", "is no request to read"),
        ("{volume: 556677.0}", "{volume_m3: 556677.0}", "there is no point 'volume'"),
        ("[{di: 0x901F, length: 19}, {di: 0x901F, length: 3}]", "[{di: 0x901F, length: 19}]",
         "0x901f stands above already"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_cjt188_profile_is_told(wrong: str, right: str, said: str) -> None:
    assert right in CJT188
    assert said in mistakes(CJT188.replace(right, wrong))

"""The series of a batch come back in their order, and a list that cannot be right is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.layout import PackedSeries, pack_series, unpack_series
from models.packing import pack
from models.vocabulary import NAMES

names = st.sampled_from(["a", "b", "c", "", "电压", *NAMES[:3], NAMES[-1]])
pairs_of_names = st.lists(st.tuples(names, names), unique=True)


@given(pairs_of_names)
def test_series_come_back_and_each_is_where_it_was_said_to_be(pairs: list[tuple[str, str]]) -> None:
    packed, series, places = pack_series(pairs)
    back = unpack_series(packed, limit=len(pairs))
    assert back == series
    assert [back.pairs()[place] for place in places] == pairs


def test_usual_names_are_not_spelled_out() -> None:
    packed, series, _ = pack_series([("m", NAMES[5]), ("m", "own"), ("m", NAMES[-1])])
    assert packed.spelled == ["own"]
    assert [point for _, point in series.pairs()] == [NAMES[5], "own", NAMES[-1]]


def test_a_thousand_devices_of_one_type_list_their_points_once() -> None:
    pairs = [(f"meter-{number}", f"point-{point}") for number in range(1000) for point in range(20)]
    packed, _, places = pack_series(pairs)
    assert places == list(range(20_000))
    assert len(packed.layout_names) < 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"layout_names": pack([0, 999])}, "not in it", id="name-that-is-not-there"),
        pytest.param({"device_layouts": pack([0, 1])}, "not in it", id="layout-that-is-not-there"),
        pytest.param({"device_layouts": pack([0])}, "numbers where", id="device-without-layout"),
        pytest.param({"devices": ["m", "m"]}, "twice", id="device-twice"),
        pytest.param({"spelled": ["v", "v"]}, "twice", id="name-twice"),
        pytest.param({"layout_sizes": pack([3])}, "numbers where", id="layout-too-long"),
        pytest.param({"layout_sizes": pack([2, 0])}, "more series", id="empty-layout"),
        pytest.param({"layout_sizes": pack([-1, 3])}, "more series", id="negative-size"),
    ],
)
def test_a_list_of_series_that_cannot_be_right_is_refused(change: dict[str, object], said: str) -> None:
    packed, _, _ = pack_series([("m", "v"), ("m", "a"), ("n", "v"), ("n", "a")])
    wrong = PackedSeries(**{**msgspec.structs.asdict(packed), **change})
    with pytest.raises(ValueError, match=said):
        unpack_series(wrong, limit=4)


def test_a_short_list_that_stands_for_a_million_series_is_refused() -> None:
    packed, _, _ = pack_series(
        [(f"d{device}", f"p{point}") for device in range(1000) for point in range(1000)]
    )
    with pytest.raises(ValueError, match="more series than readings"):
        unpack_series(packed, limit=999_999)

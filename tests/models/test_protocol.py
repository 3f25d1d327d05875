"""An enrolment token survives being copied by people, and shows no secret."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.protocol import EnrollmentToken, EnrollRequest, TokenMalformed

TOKEN = EnrollmentToken(url="https://collector.example:8443", ca_certificate_der=bytes(300), secret="s3cret")


def test_a_token_is_read_back_though_a_mail_program_broke_its_lines() -> None:
    text = TOKEN.encode()
    assert EnrollmentToken.decode(f"  {text[:40]}\n{text[40:]}\r\n") == TOKEN


def test_a_token_is_found_in_the_command_that_was_copied_with_it() -> None:
    assert EnrollmentToken.decode(f"On the gateway:\n\nedge-agent enroll {TOKEN.encode()}\n") == TOKEN


@pytest.mark.parametrize("length", [0, 4, 5, 20, 100])
def test_a_token_that_was_cut_off_is_refused_with_what_to_do(length: int) -> None:
    with pytest.raises(TokenMalformed, match="copy it whole"):
        EnrollmentToken.decode(TOKEN.encode()[:length])


@given(st.text(max_size=80))
def test_no_other_text_passes_for_a_token(text: str) -> None:
    for candidate in (text, "ghe1." + text):
        try:
            EnrollmentToken.decode(candidate)
        except TokenMalformed:
            continue
        raise AssertionError(candidate)


def test_secrets_are_not_shown() -> None:
    request = EnrollRequest(secret="s3cret", csr_pem="-", agent_version="1", seal_key="-")
    assert "s3cret" not in repr(TOKEN) + str(TOKEN) + repr(request) + str(request)

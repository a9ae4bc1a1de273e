"""Addresses as each ad platform hashes them, by the vectors that the platforms publish.

Locks out: one hash for all platforms, which finds a Gmail customer on one of them only, and an address that no message
reaches.
"""

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmentation_assets.exports import addresses
from tests.support.addresses import HARD_CASES

# Google, Data Manager API, "Send audience members": the four members of its sample data, and the same after hashing.
# https://developers.google.com/data-manager/api/devguides/audiences/send-audience-members
GOOGLE = {
    "dana@example.com": "07e2f1394b0ea80e2adca010ea8318df697001a005ba7452720edda4b0ce57b3",
    "DanaM@example.com": "1df6b43bc68dd38eca94e6a65b4f466ae537b796c81a526918b40ac4a7b906c7",
    "ALEXF@example.com": "19de0a9906ebee29fe82087be5ec44f3c01e40730bc808b663c71f19dd6b12f2",
    "AlexF@cymbalgroup.com": "7d2d80e240594dcee2e57f57885ee286c4b232dd142234d7a0af6d31cc86679b",
    "alexF@altostrat.com": "063c45291827d4994f98357b72862b25885834fd53cf8f0e4af359916fc03c62",
    "quinn@CYMBALGROUP.com": "05bb62526f091b45d20e243d194766cca8869137421047dc53fa4876d111a6f0",
    "baklavainthebalkans@gmail.com": "f1fcde379f31f4d446b76ee8f34860eca2288adc6b6d6c0fdc56d9eee75a2fa5",
    "rosario@example.org": "83a834cc5327bc4dee7c5408988040dc5813c7662611cd93b707aff72bf7d33f",
    "cloudySanFrancisco@GMAIL.com": "223ebda6f6889b1494551ba902d9d381daf2f642bae055888e96343d53e9f9c4",
    # The formatting guide's example, cloudysanfrancisco@gmail.com, has the hash of the line before.
    # https://developers.google.com/data-manager/api/devguides/concepts/formatting
    "cloudy.sanfrancisco+shopping@gmail.com": "223ebda6f6889b1494551ba902d9d381daf2f642bae055888e96343d53e9f9c4",
}
# Meta, "Customer Information Parameters", em.
# https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters
META = {"John_Smith@gmail.com": "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f"}


def hashed(normalised: str) -> str:
    return hashlib.sha256(normalised.encode()).hexdigest()


@pytest.mark.parametrize(("address", "sha256"), GOOGLE.items())
def test_googles_published_vectors(address: str, sha256: str) -> None:
    assert hashed(addresses.google(address)) == sha256


@pytest.mark.parametrize(("address", "sha256"), META.items())
def test_metas_published_vectors(address: str, sha256: str) -> None:
    assert hashed(addresses.meta(address)) == sha256


@pytest.mark.parametrize(
    ("normalised", "address", "expected"),
    [
        # Google's formatting guide: other domains keep their dots and tags.
        (addresses.google, "user.name+NYC@Example.com", "user.name+nyc@example.com"),
        (addresses.google, "  A.da+x+y@GoogleMail.com ", "ada@googlemail.com"),
        (addresses.google, "a da\u00a0@example.com\t", "ada@example.com"),
        (addresses.google, "a.da+x@mail.gmail.com", "a.da+x@mail.gmail.com"),
        (addresses.google, "a.da+x@gmail.com.example", "a.da+x@gmail.com.example"),
        (addresses.meta, " A.da+x@Gmail.com\n", "a.da+x@gmail.com"),
        (addresses.generic, " A.da+x@Gmail.com\n", "a.da+x@gmail.com"),
        (addresses.generic, "JOSE\u0301@example.com", "jos\u00e9@example.com"),
    ],
)
def test_each_platform_normalises_by_its_own_rule(
    normalised: Callable[[str], str], address: str, expected: str
) -> None:
    assert normalised(address) == expected


@given(st.from_regex(r"[A-Za-z0-9_]{1,8}(\.[A-Za-z0-9+]{1,5}){0,2}@(gmail|Example)\.com", fullmatch=True))
def test_what_is_normalised_stays_as_it_is(address: str) -> None:
    for platform in addresses.PLATFORMS:
        assert platform.normalised(platform.normalised(address)) == platform.normalised(address)


@pytest.mark.parametrize(("address", "deliverable"), HARD_CASES.items())
def test_a_message_can_be_sent_to_it_or_not(address: str | None, deliverable: bool) -> None:
    assert addresses.is_deliverable(address or "") is deliverable

"""Twenty clients of the demo page at once, with the starter: each gets what `kgen expand` writes, byte for byte."""
from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from demo_client import DemoClient
from demo_kit import built, needs_gradio

needs_gradio()

from kgen_ext.cli import main  # noqa: E402
from kgen_ext.demo.expanding import Runner  # noqa: E402
from kgen_ext.demo.limits import Limits  # noqa: E402
from kgen_ext.demo.offers import Offer, Offers  # noqa: E402
from kgen_ext.demo.page import Service  # noqa: E402
from kgen_ext.demo.server import Address, find_port, require_gradio, serving  # noqa: E402
from kgen_ext.models import STARTER  # noqa: E402
from kgen_ext.service.pool import Pool  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("ignore::ResourceWarning"), pytest.mark.filterwarnings("ignore::UserWarning"),
              pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]  # fmt: skip
PROMPTS = [
    "1girl, fox ears, shrine", "no humans, city, night, rain", "(1girl:1.2), [day:night:0.5], <lora:ink:0.8>",
    "1boy, knight", "2girls, tea, garden", "cat", "scenery, mountain", "1girl, <b>bold</b> & \"quotes\"",
    "1girl, hat BREAK forest", "dog, beach", "1girl, witch hat", "6+girls, stage", "robot", "1girl,  odd   spaces ,",
    "ship, sea, storm", "1boy, chef", "dragon", "library", "1girl, snow", "train, window",
]  # fmt: skip


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Offer]]:
    require_gradio()
    pool, offers = Pool(), Offers([STARTER])
    service = Service(Runner(pool, offers), Limits(), tmp_path_factory.mktemp("pairs"))
    with serving(built(service), Address(), find_port("127.0.0.1", None)) as (url, _):
        yield url, offers.offer(STARTER)
    pool.close()


def test_twenty_clients_at_once_get_what_the_command_writes(
    served: tuple[str, Offer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, offer = served
    with ThreadPoolExecutor(len(PROMPTS)) as clients:
        runs = [clients.submit(DemoClient(url).prompts, offer, prompt=prompt, seed=100 + number, tag_length="short")
                for number, prompt in enumerate(PROMPTS)]  # fmt: skip
        found = [run.result() for run in runs]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"{prompt}\n" for prompt in PROMPTS), "utf-8")
    capsys.readouterr()
    assert main(["expand", "--file", str(prompts), "--seed", "100", "--tag-length", "short"]) == 0
    assert [prompt for run in found for prompt in run] == capsys.readouterr().out.splitlines()


def test_a_prompt_grows_as_it_is_written(served: tuple[str, Offer]) -> None:
    url, offer = served
    panels = DemoClient(url).expand(offer, prompt="1girl, park", seed=1, tag_length="very_long")
    assert len(set(map(len, panels))) > 2

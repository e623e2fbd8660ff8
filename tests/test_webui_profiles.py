"""Checkpoint profiles: which family a name tells, what it sets, and where its quality words go."""
from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from page_kit import build_page
from test_webui_hires import upscale
from test_webui_preview import offered, page_text, run
from webui_kit import Stage, forget, set_stage

from kgen_ext.events import By, Expansion, Fields, Finish, Piece
from kgen_ext.models import ModelFiles, load_catalogue
from kgen_ext.webui.checkpoint_profile import (
    add_quality_to_result,
    add_quality_words,
    checkpoint_title,
    profile_line,
    with_profile,
)
from kgen_ext.webui.controls import AUTO, BY_FIELD, DEFAULT, NO_PROFILE, Values, read_named
from kgen_ext.webui.host import current_host
from kgen_ext.webui.infotext import PasteKey
from kgen_ext.webui.job import OWN, ExpandedPrompt, ImagePrompt
from kgen_ext.webui.profiles import PROFILES, find_profile

PONY = PROFILES["pony"].quality
END = PROFILES["animagine"].quality


def values(**given: Any) -> Values:
    return read_named({"profile": "pony", **given})


def expansion(source: str, added: str = ", hat", tags: tuple[str, ...] = ("hat",)) -> Expansion:
    pieces = (Piece(source, By.USER), Piece(added, By.MODEL)) if added else (Piece(source, By.USER),)
    return Expansion(
        prompt=source + added, pieces=pieces, source=source, seed=1, row=0, model="m", engine="e", fields=Fields(),
        added_tags=tags, added_text="", finish=Finish.COMPLETE, decoded_tokens=0, forced_tokens=0, rewound_tokens=0,
        seconds=0.0,
    )  # fmt: skip


def dressed(source: str, added: str = ", hat", tags: tuple[str, ...] = ("hat",), **given: Any) -> str:
    return add_quality_words(expansion(source, added, tags), values(**given)).prompt


# Names.


@pytest.mark.parametrize("title, family", [
    ("ponyDiffusionV6XL_v6StartWithThisOne.safetensors [67ab2fd8ec]", "pony"), ("autismmixSDXL_autismmixPony", "pony"),
    ("everclearPNYByZovya_v3.safetensors", "pony"), ("tPonynai3_v6.safetensors", "pony"),
    ("ponyRealism_V22MainVAE.safetensors", "pony"), ("ponyDiffusionV7.safetensors", None),
    ("illustriousXL_v01.safetensors", "illustrious"), ("Illustrious-XL-v1.0.safetensors", "illustrious"),
    ("waiNSFWIllustrious_v140.safetensors [a810e710a2]", "illustrious"), ("hassakuXLIllustrious_v22", "illustrious"),
    ("novaAnimeXL_ilV100.safetensors", "illustrious"), ("WAI-illustrious-SDXL-v16.safetensors", "illustrious"),
    ("NoobAI-XL-v1.1.safetensors", "noobai"), ("noobaiXLNAIXL_epsilonPred11Version.safetensors", "noobai"),
    ("noobaiIllustrious_x.safetensors", "noobai"), ("JANKUNoobaiRouwei.safetensors", "noobai"),
    ("anima-preview.safetensors", "anima"), ("animaBase_v10.safetensors", "anima"), ("ANIMA.safetensors", "anima"),
    ("kirazuriAnima_v1.safetensors", "anima"), ("animaPencilXL_v500.safetensors", "sdxl_anime"),
    ("animagineXL40_v4Opt.safetensors", "animagine"), ("animagine-xl-4.0-opt.safetensors", "animagine"),
    ("animagine-xl-3.1.safetensors", "sdxl_anime"), ("animagineXLV31_v31.safetensors", "sdxl_anime"),
    ("animatedDiff.safetensors", None), ("animeGenius.safetensors", None),
    ("flux1-dev-bnb-nf4-v2.safetensors", "sentences"), ("FLUX.1-schnell.safetensors", "sentences"),
    ("chroma-unlocked-v37.safetensors", "sentences"), ("chromaticXL.safetensors", None),
    ("qwenImage_fp8.safetensors", "sentences"), ("z_image_turbo_bf16.safetensors", "sentences"),
    ("sd3.5_large.safetensors", "sentences"), ("influx.safetensors", None),
    ("v1-5-pruned-emaonly.safetensors [6ce0161689]", None), ("sd_xl_base_1.0.safetensors", None),
    ("dreamshaper_8.safetensors", None), ("copilot.safetensors", None), ("", None), ("[", None),
])  # fmt: skip
def test_a_name_tells_its_family(title: str, family: str | None) -> None:
    assert find_profile(title) == family


def test_a_name_that_tells_two_families_tells_none() -> None:
    assert find_profile("ponyIllustriousMerge.safetensors") is None


@pytest.mark.parametrize("title", ["Pony\\real_v1.safetensors", "sdxl/Pony/real_v1.safetensors [0123456789]"])
def test_a_folder_tells_the_family_where_the_file_does_not(title: str) -> None:
    assert find_profile(title) == "pony"


def test_the_file_goes_before_the_folder() -> None:
    assert find_profile("illustrious/pony_mix.safetensors") == "pony"


@pytest.mark.parametrize("family", PROFILES)
def test_a_profile_is_whole(family: str) -> None:
    profile = PROFILES[family]
    assert profile.add in ("tags", "text", "both")
    assert profile.source
    assert profile.quality == ", ".join(word.strip() for word in profile.quality.split(",") if word)
    assert not {"safe", "rating_safe", "nsfw"} & set(profile.quality.split(", "))


# What a profile sets.


def test_without_a_profile_nothing_changes(stage: Stage) -> None:
    stage.host.opts.sd_model_checkpoint = "ponyDiffusionV6XL.safetensors"
    done = stage.run(prompt="cat", seed=7)
    assert done.prompts == ["cat, word7"]
    assert not {"KGen profile", "KGen add"} & set(stage.host.parse(done.infotexts[0]))


def test_automatic_takes_the_family_that_the_checkpoint_tells(stage: Stage) -> None:
    stage.host.opts.sd_model_checkpoint = "ponyDiffusionV6XL.safetensors"
    done = stage.run(prompt="cat", seed=7, values={"profile": AUTO})
    assert done.prompts == [f"{PONY}, cat, word7"]
    assert stage.host.parse(done.infotexts[0])["KGen profile"] == "pony"


def test_automatic_does_nothing_with_a_checkpoint_of_no_family(stage: Stage) -> None:
    stage.host.opts.sd_model_checkpoint = "dreamshaper_8.safetensors"
    done = stage.run(prompt="cat", seed=7, values={"profile": AUTO})
    assert done.prompts == ["cat, word7"]
    assert "KGen profile" not in done.infotexts[0]


def test_a_job_with_a_checkpoint_of_its_own_has_the_profile_of_that(stage: Stage) -> None:
    stage.host.opts.sd_model_checkpoint = "dreamshaper_8.safetensors"
    job = stage.job(prompt="cat", seed=7, values={"profile": AUTO})
    job.override_settings = {"sd_model_checkpoint": "ponyDiffusionV6XL.safetensors"}
    assert stage.host.run(job).prompts == [f"{PONY}, cat, word7"]


def test_a_hash_in_a_job_is_looked_up(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("modules.sd_models")
    module.get_closet_checkpoint_match = lambda name: SimpleNamespace(title=f"pony [{name}]")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules.sd_models", module)
    job = stage.job()
    job.override_settings = {"sd_model_checkpoint": "67ab2fd8ec"}
    assert checkpoint_title(current_host(), job) == "pony [67ab2fd8ec]"


@pytest.mark.parametrize("odd", [None, 7, ["a"]])
def test_an_odd_name_of_a_checkpoint_tells_nothing(stage: Stage, odd: Any) -> None:
    stage.host.opts.sd_model_checkpoint = odd
    job = stage.job()
    job.override_settings = {"sd_model_checkpoint": odd}
    assert checkpoint_title(current_host(), job) == ""


@pytest.mark.parametrize("family, adds", [("sentences", "text"), ("anima", "both"), ("pony", "tags")])
def test_a_profile_says_what_to_add_where_nothing_was_chosen(stage: Stage, family: str, adds: str) -> None:
    assert with_profile(values(profile=family), current_host()).adds == adds


def test_what_was_chosen_goes_before_the_profile(stage: Stage) -> None:
    assert with_profile(values(profile="sentences", add="tags"), current_host()).adds == "tags"


@pytest.mark.parametrize("protocol, adds", [("dtg", "tags"), ("tipo", "text")])
def test_a_model_that_writes_only_tags_is_not_asked_for_sentences(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, protocol: str, adds: str
) -> None:
    entry = next(model for model in load_catalogue() if model.protocol == protocol)
    files = ModelFiles(entry.id, None, Path("x.gguf"), entry)
    monkeypatch.setattr("kgen_ext.webui.settings.find_model", lambda host, settings, name: files)
    assert with_profile(values(profile="sentences"), current_host()).adds == adds


def test_a_model_that_is_not_there_is_told_by_the_job(stage: Stage) -> None:
    done = stage.run(prompt="cat", seed=7, values={"profile": "sentences", "model": "nonesuch"})
    assert done.prompts == ["cat"]
    assert "nonesuch" in stage.host.parse(done.infotexts[0])["KGen error"]


def test_sentences_are_asked_for_with_a_checkpoint_for_sentences(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7, values={"profile": "sentences"})
    assert stage.requests[0].no_tags is True


def test_recommended_without_a_profile_is_tags(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7)
    assert (stage.requests[0].no_tags, stage.requests[0].text_length.value) == (False, "none")


# Quality words.


def test_the_model_never_sees_the_quality_words(stage: Stage) -> None:
    stage.run(prompt="cat", seed=7, values={"profile": "pony"})
    assert (stage.requests[0].prompt, stage.requests[0].require) == ("cat", ())


@pytest.mark.parametrize("prompt, result", [
    ("cat", f"{PONY}, cat, hat"), ("  cat", f"{PONY},   cat, hat"), ("(cat:1.2)", f"{PONY}, (cat:1.2), hat"),
    ("# note\ncat", f"{PONY}, # note\ncat, hat"), ("[cat:dog:0.5]", f"{PONY}, [cat:dog:0.5], hat"),
    ("cat BREAK dog", f"{PONY}, cat BREAK dog, hat"), (", cat", f"{PONY}, cat, hat"),
    ("<lora:ink:1>, cat", f"{PONY}, <lora:ink:1>, cat, hat"),
])  # fmt: skip
def test_quality_words_go_in_front(prompt: str, result: str) -> None:
    assert dressed(prompt) == result


@pytest.mark.parametrize("prompt, result", [
    ("cat", f"cat, hat, {END}"), ("cat BREAK dog", f"cat BREAK dog, hat, {END}"),
    ("cat # note", f"cat # note, hat\n, {END}"), ("((cat", f"((cat, hat)), {END}"),
    ("cat AND dog :0.5", None),
])  # fmt: skip
def test_quality_words_go_behind(prompt: str, result: str | None) -> None:
    got = dressed(prompt, profile="animagine")
    assert END in got
    assert result is None or got == result


@pytest.mark.parametrize("family", [family for family, profile in PROFILES.items() if profile.quality])
@pytest.mark.parametrize("prompt", [
    "cat", "cat,", "(cat", "[cat:0.5", "cat \\(x\\)", "a AND b :0.7", "a BREAK b", "# c", "A girl reads.", "{a|b}",
    "🦊", "<kgen>", "((a), [b", "cat\n\n", "\\", "a AND b # c",
])  # fmt: skip
def test_the_users_bytes_stay_as_they_are(family: str, prompt: str) -> None:
    got = add_quality_words(expansion(prompt), values(profile=family))
    assert "".join(piece.text for piece in got.pieces) == got.prompt
    assert "".join(piece.text for piece in got.pieces if piece.by is By.USER) == prompt


@pytest.mark.parametrize("own", [
    "masterpiece", "(best quality:1.2)", "score_6", "score_7_up", "very aesthetic", "8k", "amazing quality",
])  # fmt: skip
def test_quality_words_of_the_user_are_enough(own: str) -> None:
    assert dressed(f"cat, {own}") == f"cat, {own}, hat"


def test_a_word_of_the_profile_that_is_no_quality_word_elsewhere_is_enough(stage: Stage) -> None:
    assert dressed("cat, high score", profile="animagine") == "cat, high score, hat"


def test_a_word_that_is_added_already_is_not_added_again() -> None:
    got = dressed("cat", ", masterpiece", ("masterpiece",), profile="illustrious")
    assert got == "cat, masterpiece, best quality"


@pytest.mark.parametrize("ban", ["score_8_up", "score_8*", "hat; score 8 up"])
def test_a_banned_word_is_not_added(ban: str) -> None:
    assert dressed("cat", ban=ban) == f"{PONY.replace('score_8_up, ', '')}, cat, hat"


def test_with_all_words_banned_nothing_is_put_in() -> None:
    assert dressed("cat", ban="score_*") == "cat, hat"


def test_sentences_alone_get_no_quality_words() -> None:
    assert dressed("cat", format="text") == "cat, hat"


def test_a_prompt_that_was_expanded_before_stays_as_it_is(stage: Stage) -> None:
    first = stage.run(prompt="cat", seed=7, values={"profile": "pony"}).prompts[0]
    assert stage.run(prompt=first, seed=7, values={"profile": "pony"}).prompts == [first]


@pytest.mark.parametrize("hires, typed, result", [
    ("follow", "", f"{PONY}, cat, word7"), ("follow", "dog", f"{PONY}, dog, word7"), ("leave", "dog", "dog"),
    ("separate", "dog", f"{PONY}, dog, word7"), ("follow", "dog, score_9", "dog, score_9, word7"),
])  # fmt: skip
def test_hires_prompts_get_the_quality_words_too(stage: Stage, hires: str, typed: str, result: str) -> None:
    done = stage.run(prompt="cat", seed=7, enable_hr=True, hr_prompt=typed, values={"profile": "pony", "hires": hires})
    assert done.hr_prompts == [result]


def test_a_prompt_of_which_nothing_could_be_used_stays_as_it_is() -> None:
    nothing = replace(expansion("cat", ""), prompt="", pieces=())
    own = ExpandedPrompt(ImagePrompt("cat", 7), "cat", None, nothing, OWN)
    assert add_quality_to_result(own, values()) == own


def test_a_failure_leaves_the_prompt_as_it_is(stage: Stage) -> None:
    stage.failure = OSError("no model")
    assert stage.run(prompt="cat", seed=7, values={"profile": "pony"}).prompts == ["cat"]


def test_pasting_an_image_gives_its_text_again_whatever_is_loaded(stage: Stage) -> None:
    stage.host.opts.sd_model_checkpoint = "ponyDiffusionV6XL.safetensors"
    done = stage.run(prompt="cat", seed=7, values={"profile": AUTO})
    found = stage.host.paste(done.infotexts[0])
    stage.host.opts.sd_model_checkpoint = "dreamshaper_8.safetensors"
    again = {field: PasteKey(BY_FIELD[field])(found) for field in ("profile", "add")}
    assert again == {"profile": "Pony", "add": "tags"}
    assert stage.run(prompt=found["Prompt"], seed=7, values={"profile": "pony"}).prompts == done.prompts


def test_a_hires_pass_from_the_gallery_draws_the_text_of_that_image(stage: Stage) -> None:
    done = stage.run(prompt="cat", seed=7, values={"profile": "pony"})
    assert upscale(stage, done.infotexts[0]).prompts == done.prompts


def test_a_preview_shows_the_quality_words_as_additions(stage: Stage) -> None:
    view = run(stage, page_text(), profile="pony")[-1]
    assert f'<span class="kgen-added">{PONY}, </span><span>cat</span>' in view
    assert offered(view)[0]["prompt"] == f"{PONY}, cat, word7"


# The line on the page.


@pytest.mark.parametrize("loaded, choice, told", [
    ("ponyDiffusionV6XL.safetensors", "none", "fits the profile “Pony”"), ("dreamshaper_8", "none", ""),
    ("ponyDiffusionV6XL.safetensors", "by the checkpoint's name", "Pony: adds tags unless you choose otherwise"),
    ("ponyDiffusionV6XL.safetensors", "by the checkpoint's name", f"at the start: {PONY}"),
    ("dreamshaper_8.safetensors", "by the checkpoint's name", "(dreamshaper_8.safetensors) tells no family"),
    ("dreamshaper_8.safetensors", "SDXL anime: Animagine XL 4", f"at the end: {END}"),
    ("", "Flux and other sentence models", "adds sentences unless you choose otherwise; no quality words"),
    ("", "by the checkpoint's name", "none is loaded"), ("", None, ""), ("", ["x"], ""),
])  # fmt: skip
def test_the_page_tells_what_a_profile_does(stage: Stage, loaded: str, choice: Any, told: str) -> None:
    stage.host.opts.sd_model_checkpoint = loaded
    line = profile_line(choice, current_host())
    assert told in line if told else line == ""


@pytest.mark.parametrize("event", [("profile", "change"), ("profile_fill", "click")])
def test_the_line_is_told_when_the_profile_or_the_fold_is_touched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, event: tuple[str, str]
) -> None:
    page = build_page(monkeypatch, tmp_path, img2img=False, real=False)
    page.stage.host.opts.sd_model_checkpoint = "<b>pony</b>.safetensors"
    fn = page.wire(*event).fn
    assert fn is not None
    assert "<b>" not in fn("none")["value"] and "“Pony”" in fn("none")["value"]
    forget()


def test_the_default_is_no_profile() -> None:
    assert (BY_FIELD["profile"].default, BY_FIELD["add"].default) == (NO_PROFILE, DEFAULT)


def test_a_bare_host_tells_no_checkpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    set_stage(monkeypatch, tmp_path, kind="bare")
    assert checkpoint_title(current_host()) == ""

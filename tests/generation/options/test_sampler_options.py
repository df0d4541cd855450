"""Steps stay as many where each takes several evaluations; a number of the user's stands, with a warning."""

import logging
import re
from pathlib import Path

import pytest
import torch

import moldiff
from moldiff.choices import Sampler
from moldiff.config import ConformersConfig, MethodConfig
from moldiff.generation.options.sampler_options import ResolvedSampler, SamplerOptions
from moldiff.sampling.sampler import evaluations_of, steps_within
from moldiff.sampling.solvers import SOLVERS, RePaint

CPU = torch.device("cpu")


def resolved(evaluations: int | None = None, sampler: Sampler | None = None, own: int = 8) -> ResolvedSampler:
    options = SamplerOptions(evaluations=evaluations, sampler=sampler)
    return options.resolved(MethodConfig(evaluations=own), CPU)


@pytest.mark.parametrize("own", [1, 8, 20])
@pytest.mark.parametrize("sampler", list(Sampler))
def test_by_default_every_sampler_takes_the_models_own_steps(sampler: Sampler, own: int) -> None:
    found = resolved(sampler=sampler, own=own)
    assert steps_within(SOLVERS[sampler], found.evaluations) == own == found.steps
    assert found.evaluations == evaluations_of(SOLVERS[sampler], own)
    assert found.record()["evaluations"] == found.evaluations


@pytest.mark.parametrize("calls", [1, 2, 3])
@pytest.mark.parametrize("solver", [SOLVERS[Sampler.DDPM], SOLVERS[Sampler.EDM], RePaint(SOLVERS[Sampler.DDPM], 3)])
def test_what_one_prediction_costs_takes_away_no_step(solver: RePaint, calls: int) -> None:
    found = resolved().at_cost(solver, calls)
    assert steps_within(solver, found.evaluations // calls) == 8
    assert found.evaluations == calls * evaluations_of(solver, 8)


def test_defaults_are_taken_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """Of conformers' 50, say, two evaluations a step leave one over."""
    own = ConformersConfig(evaluations=50, sampler=Sampler.EDM)
    found = SamplerOptions().resolved(own, CPU)
    assert (found.evaluations, found.steps) == (50, 25)
    assert resolved().evaluations == 8
    assert not caplog.records


@pytest.mark.parametrize(
    ("asked", "calls", "steps", "needed"), [(8, 2, 4, 16), (1, 2, 1, 16), (15, 2, 7, 16), (8, 3, 2, 24)]
)
def test_a_number_of_the_user_stands_and_few_steps_are_told(
    asked: int, calls: int, steps: int, needed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="moldiff")
    found = resolved(asked).at_cost(SOLVERS[Sampler.DPMPP_SDE], calls)
    assert found.evaluations == asked
    (record,) = caplog.records
    told = record.getMessage()
    assert [int(number) for number in re.findall(r"\d+", told)] == [asked, calls, steps, 8, needed]


@pytest.mark.parametrize(("asked", "calls"), [(16, 2), (17, 2), (40, 2), (4, 1)])
def test_enough_steps_and_fewer_on_purpose_are_nothing_to_tell(
    asked: int, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="moldiff")
    assert resolved(asked).at_cost(SOLVERS[Sampler.DPMPP_SDE], calls).evaluations == asked
    assert not caplog.records


def test_guidance_doubles_what_a_draw_costs(packed: Path) -> None:
    costs = []
    for guidance in (1.0, 2.0):
        made = moldiff.generate(2, model=packed, targets="logp=0.5", guidance=guidance, keep_invalid=True)
        costs.append(made.table["evaluations"].tolist())
        assert made.summary.evaluations == sum(costs[-1])
    assert costs[1] == [2 * cost for cost in costs[0]]

"""Rules of medicinal chemistry as named presets: conditions on properties, some of which may be broken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from moldiff.chem.descriptors.rdkit_descriptors import PROPERTIES
from moldiff.chem.filters.checks import CheckResult, Subject
from moldiff.choices import RuleName
from moldiff.conditions import Condition, number_text, parse_condition


@dataclass(frozen=True)
class Rule:
    """A preset.

    Attributes:
        conditions: on properties of `moldiff.chem.descriptors.rdkit_descriptors.PROPERTIES`.
        may_break: how many of them a molecule may break.
        source: where it was published.
    """

    conditions: tuple[Condition, ...]
    may_break: int
    source: str


def _rule(conditions: str, source: str, may_break: int = 0) -> Rule:
    return Rule(tuple(map(parse_condition, conditions.split())), may_break, source)


RULES: Mapping[RuleName, Rule] = {
    # donors as N-H and O-H bonds, acceptors as N and O atoms, as in the paper; it warns of two broken conditions
    RuleName.LIPINSKI: _rule(
        "mw<=500 logp<=5 nhoh_count<=5 no_count<=10", "Lipinski et al., Adv. Drug Deliv. Rev. 1997, 23, 3", may_break=1
    ),
    RuleName.VEBER: _rule("rotatable_bonds<=10 tpsa<=140", "Veber et al., J. Med. Chem. 2002, 45, 2615"),
    RuleName.LEAD_LIKE: _rule(
        "mw=250..350 logp<=3.5 rotatable_bonds<=7",
        "ZINC's lead-like subset, after Teague et al., Angew. Chem. Int. Ed. 1999, 38, 3743",
    ),
    RuleName.FRAGMENT_LIKE: _rule(
        "mw<300 logp<=3 hbd<=3 hba<=3 rotatable_bonds<=3 tpsa<=60",
        "the rule of three, Congreve et al., Drug Discov. Today 2003, 8, 876",
    ),
}


@dataclass(frozen=True)
class RuleCheck:
    """Passes what obeys a rule. Value: how many of its conditions are broken.

    Attributes:
        rule: name of the preset.
    """

    rule: RuleName
    is_text = False

    @property
    def name(self) -> str:
        return str(self.rule)

    @property
    def cost(self) -> float:
        return sum(PROPERTIES[condition.name].cost for condition in RULES[self.rule].conditions)

    def __call__(self, subject: Subject) -> CheckResult:
        preset = RULES[self.rule]
        broken = [condition for condition in preset.conditions if not condition.holds(subject.value(condition.name))]
        passed = len(broken) <= preset.may_break
        told = ", ".join(f"{one.name} {number_text(subject.value(one.name))}, must be {one.limit}" for one in broken)
        return CheckResult(self.name, passed, float(len(broken)), "" if passed else told, f"<={preset.may_break}")

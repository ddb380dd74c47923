"""Which phase of a configuration is non-contrast, arterial, portal venous and delayed.

Signs, the order of the phases and the default of `single_phase` use roles, never names of phases.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from pipeline.config import CohortSection, PhaseRolesSection
from pipeline.errors import ConfigError
from pipeline.names import PHASE_ALIASES, PHASE_ROLES, folded, phase_vocabulary

_WHERE = "cohort.phase_roles"
_NAMES = {
    "non_contrast": "non-contrast",
    "arterial": "arterial",
    "portal": "portal venous",
    "delayed": "delayed",
}


@dataclass(frozen=True, kw_only=True)
class PhaseRoles:
    """The phase of each role, as the configuration names it; None where no phase has the role."""

    non_contrast: str | None = None
    arterial: str | None = None
    portal: str | None = None
    delayed: str | None = None

    @property
    def of_role(self) -> Mapping[str, str | None]:
        """The phase of each role by the role's key in [cohort.phase_roles]."""
        return asdict(self)

    def without_role(self, phases: Iterable[str]) -> tuple[str, ...]:
        """Return the phases that have no role, in their order."""
        return tuple(phase for phase in phases if phase not in self.of_role.values())


def name_of_role(role: str) -> str:
    """Return a role as a radiologist writes it: `portal venous` for the key `portal`."""
    return _NAMES[role]


def phase_roles(section: CohortSection, *, where: str = "[cohort.phase_roles]") -> PhaseRoles:
    """Return the phase of each role: the one given, else the one whose name or alias means the role.

    Args:
        section: [cohort] of a configuration, before or after `with_roles_resolved`.
        where: prefix of the messages.

    Raises:
        ConfigError: a given phase is unknown (the nearest one is named) or ambiguous, two phases mean one role, or one
            phase has two roles.
        CohortError: an alias of the configuration points to an unknown name or contradicts a name.
    """
    phases, given = phase_vocabulary(section), section.phase_roles.model_dump()
    taken = {phases.resolve(text, where=f"{where}.{role}") for role, text in given.items() if text}
    found: dict[str, str | None] = {}
    for role, text in given.items():
        if text is None:
            found[role] = _by_name(role, section, taken, where)
        else:
            found[role] = phases.resolve(text, where=f"{where}.{role}") if text else None
    _refuse_two_roles(found, where)
    return PhaseRoles(**found)


def with_roles_resolved(section: CohortSection, *, where: str) -> CohortSection:
    """Return [cohort] with the phase of each role in [cohort.phase_roles]; "" where no phase has it.

    Args:
        section: as read.
        where: prefix of the messages, such as the file.

    Raises:
        ConfigError: see `phase_roles`.
        CohortError: see `phase_roles`.
    """
    roles = phase_roles(section, where=f"{where}: {_WHERE}").of_role
    resolved = PhaseRolesSection(**{role: phase or "" for role, phase in roles.items()})
    return section.model_copy(update={"phase_roles": resolved})


def _by_name(role: str, section: CohortSection, taken: set[str], where: str) -> str | None:
    """Return the phase whose own name means a role, or, where none does, an alias of it in the configuration."""
    meaning = next(name for name, own in PHASE_ROLES.items() if own == role)
    spellings = {folded(meaning), *PHASE_ALIASES[meaning]}
    named = [phase for phase in section.phases if folded(phase) in spellings]
    aliased = [phase for alias, phase in section.phase_aliases.items() if folded(alias) in spellings]
    found = [phase for phase in dict.fromkeys(named or aliased) if phase not in taken]
    if len(found) > 1:
        raise ConfigError(
            f"{where}.{role}: phases {' and '.join(found)} are both {name_of_role(role)} by their names; say which, such "
            f'as {role} = "{found[0]}"'
        )
    return found[0] if found else None


def _refuse_two_roles(found: Mapping[str, str | None], where: str) -> None:
    roles: dict[str, str] = {}
    for role, phase in found.items():
        if phase is None:
            continue
        if phase in roles:
            raise ConfigError(
                f"{where}: phase {phase!r} is both {roles[phase]} and {role}; expected one role"
            )
        roles[phase] = role

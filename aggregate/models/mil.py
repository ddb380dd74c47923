"""Base classes of the neural classifiers: building, training, and prediction."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator
from torch import Tensor, nn

from aggregate.cohort.chosen import Joined
from aggregate.models.base import Arrays, BagEstimator, Labels, Samples, Tune, seed_of
from aggregate.models.class_codes import balanced_weights, codes_among, encode_labels
from aggregate.models.instances import PackedBags, Scaling, pack
from aggregate.models.network import Output, Shape, WithCovariates
from aggregate.models.parameters import ClassWeight, Count, NotNegative, Positive
from aggregate.models.training import BAGS_PER_FORWARD, Task, Training, forward, one_thread, train
from aggregate.models.views import CovariateColumns, SeenBags
from pipeline.bags import Bag

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _known_device(name: str) -> str:
    """Refuse a name that is no torch device, or a GPU that does not exist."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError("expected cpu, cuda or cuda:NUMBER") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"torch {torch.__version__} sees {torch.cuda.device_count()} CUDA devices here")
    return name


Device = Annotated[str, AfterValidator(_known_device)]


@dataclass(kw_only=True, eq=False, repr=False)
class MILEstimator(BagEstimator):
    """A network on the instances of a bag, trained by AdamW with early stopping on the tuning patients."""

    # The device is not part of a saved model: a model trained on a GPU can be loaded without one.
    unsaved: ClassVar[frozenset[str]] = frozenset({"device"})

    epochs: Count = 60
    """Largest number of passes over the training bags."""
    patience: Count = 12
    """Epochs without a lower tuning loss after which training stops."""
    learning_rate: Positive = 1e-3
    """Learning rate of AdamW."""
    weight_decay: NotNegative = 1e-2
    """Decoupled weight decay of AdamW."""
    bags_per_step: Count = 8
    """Approximate number of training bags per step."""
    class_weight: ClassWeight = "balanced"
    """Whether classes are weighted inversely to their number of training patients."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format of the matrix products over instances; parameters and losses are float32."""
    device: Device = "cpu"
    """Where to compute: cpu, cuda, cuda:1, ..."""
    covariates: tuple[str, ...] = ()
    """Columns of the cohort table whose linear term is added to the logits; a missing number counts as the training mean."""

    @abstractmethod
    def new_network(self, shape: Shape) -> nn.Module:
        """Return an untrained network, its initial parameters drawn from PyTorch's global generator."""

    def measure(self, network: nn.Module, task: Task) -> None:
        """Tell a new network what it must know of the training bags beside their shape; by default nothing."""

    def prepared(self, bags: Iterable[Bag]) -> Iterable[Bag]:
        """Return the bags in the form that the network reads."""
        return bags

    def _try_building(self, bag: Bag, n_classes: int) -> None:
        """Build the network for bags of this shape."""
        packed = pack(self.prepared([bag]))
        with self._own_random_numbers(0):
            self.new_network(shape_of(packed, n_classes))

    def _fit(self, bags: SeenBags, labels: Labels, tune: Tune | None) -> None:
        """Train on `bags` with early stopping on `tune`."""
        classes, codes = encode_labels(labels)
        tune_codes = codes[:0] if tune is None else codes_among(classes, tune[1])
        seed = seed_of(self.random_state)
        with one_thread(), self._own_random_numbers(seed):
            packed = self._packed(bags, None if tune is None else tune[0])
            network = self.new_network(shape_of(packed, len(classes)))
            weights = np.ones(len(classes))
            if self.class_weight == "balanced":
                weights = balanced_weights(codes, len(classes))
            task = Task(
                bags=packed,
                train=np.arange(len(codes)),
                tune=len(codes) + np.arange(len(tune_codes)),
                codes=torch.from_numpy(np.concatenate([codes, tune_codes])).to(self.device),
                class_weights=torch.from_numpy(weights).float().to(self.device),
            )
            rng = np.random.default_rng(seed)
            self.measure(network.to(self.device), task)
            network = self._with_covariates(network, len(classes)).to(self.device)
            self.course_ = train(network, task, self._training(), rng)
            self.best_epoch_ = self.course_.kept
        self.network_, self.classes_ = network, classes
        self.n_phases_, self.n_scales_ = packed.n_phases, packed.n_scales

    def _packed(self, bags: SeenBags, tune: SeenBags | None) -> PackedBags:
        """Return the training bags and then the tuning bags with their covariates, standardised by the training bags."""
        tune_bags: Iterable[Bag] = () if tune is None else tune
        packed, self.scaling_ = self._standardised(chain(bags, tune_bags), n_train=len(bags))
        self.covariate_columns_ = CovariateColumns.learned(self.covariates, bags.patients)
        everybody = bags.patients if tune is None else Joined(bags.patients, tune.patients)
        columns = self._columns(everybody)
        self.covariate_scaling_ = Scaling.of(columns[: len(bags)])
        return self._placed(replace(packed, covariates=self._scaled(columns)))

    def _predict_proba(self, bags: SeenBags) -> NDArray[np.float64]:
        """Return class probabilities (bags, classes)."""
        logits = [output.logits.double() for output, _ in self._outputs(bags)]
        return torch.cat(logits).softmax(dim=1).cpu().numpy()

    def learned_arrays(self) -> Arrays:
        """Return the state of the network, the scaling and the numbers of phases and scales."""
        state = {f"network.{name}": value for name, value in self.network_.state_dict().items()}
        scaling = {"scaling.mean": self.scaling_.mean, "scaling.std": self.scaling_.std}
        arrays = {name: value.cpu().numpy() for name, value in {**state, **scaling}.items()}
        beside = {"mean": self.covariate_scaling_.mean, "std": self.covariate_scaling_.std}
        return {
            **arrays,
            **{f"covariates.{name}": value.numpy() for name, value in beside.items()},
            "covariates.words": self.covariate_columns_.as_array(),
            "n_phases": np.array([self.n_phases_]),
            "n_scales": np.array([self.n_scales_]),
        }

    def set_learned_arrays(self, arrays: Arrays) -> None:
        """Restore the arrays that `learned_arrays` returned; all must be there."""
        tensors = {name: torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
        self.scaling_ = Scaling(tensors["scaling.mean"], tensors["scaling.std"])
        self.covariate_scaling_ = Scaling(tensors["covariates.mean"], tensors["covariates.std"])
        self.covariate_columns_ = CovariateColumns.of_array(arrays["covariates.words"])
        self.n_phases_ = int(arrays["n_phases"][0])
        # A model of a release that knew no scales has none written; its network looked at none.
        self.n_scales_ = int(arrays["n_scales"][0]) if "n_scales" in arrays else 1
        with self._own_random_numbers(0):
            network = self.new_network(self.fitted_shape())
        network = self._with_covariates(network, self.n_outputs)
        prefix = "network."
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        network.load_state_dict(state)
        self.network_ = network.to(self.device).eval()

    def fitted_shape(self) -> Shape:
        """Return the sizes with which the fitted network was built."""
        return Shape(len(self.scaling_.mean), self.n_phases_, self.n_outputs, self.n_scales_)

    @property
    def n_outputs(self) -> int:
        """Number of outputs of the fitted network."""
        return len(self.classes_)

    def per_row(self, patients: Samples, name: str) -> list[NDArray[np.float64]]:
        """Return the network's "attention" or "evidence" of each instance, one array per bag (n, ...).

        Raises:
            NotFittedError: scikit-learn's, before `fit`.
            SampleError: there is no bag, or a bag cannot be used or differs in format from the training bags.
            AttributeError: the network has no such output.
        """
        rows: list[NDArray[np.float64]] = []
        for output, sizes in self._outputs(self.seen_bags(patients)):
            values: Tensor | None = getattr(output, name)
            if values is None:
                raise AttributeError(f"the network of {type(self).__name__} gives no {name}")
            rows += np.split(values.double().cpu().numpy(), sizes.cumsum()[:-1])
        return rows

    def _outputs(self, bags: SeenBags) -> Iterator[tuple[Output, NDArray[np.intp]]]:
        """Yield the output for a few bags at a time, and the number of rows of each."""
        for begin in range(0, len(bags), BAGS_PER_FORWARD):
            few = bags[begin : begin + BAGS_PER_FORWARD]
            with torch.inference_mode(), one_thread():
                packed = pack(self.prepared(few))
                self.scaling_.apply_(packed.features)
                packed = replace(packed, covariates=self._scaled(self._columns(few.patients)))
                instances = self._placed(packed).take(np.arange(len(packed)))
                output = forward(self.network_, instances, DTYPES[self.precision])
            yield output, packed.sizes

    def _standardised(self, bags: Iterable[Bag], *, n_train: int) -> tuple[PackedBags, Scaling]:
        """Concatenate bags, standardised by the mean and deviation of the first `n_train`."""
        packed = pack(self.prepared(bags))
        scaling = Scaling.of(packed.features[: packed.start[n_train]])
        scaling.apply_(packed.features)
        return self._placed(packed), scaling

    def _columns(self, patients: Samples) -> Tensor:
        """Return the covariates as numbers, float32 (patients, k), NaN where missing."""
        return torch.from_numpy(self.covariate_columns_.columns(patients)).float()

    def _scaled(self, columns: Tensor) -> Tensor | None:
        """Standardise covariates (patients, k), in place; None where the model reads none."""
        if not columns.shape[1]:
            return None
        self.covariate_scaling_.apply_(columns)
        return columns

    def _with_covariates(self, network: nn.Module, n_classes: int) -> nn.Module:
        n_columns = len(self.covariate_scaling_.mean)
        return WithCovariates(network, n_columns, n_classes) if n_columns else network

    def _placed(self, packed: PackedBags) -> PackedBags:
        """Return the bags in this model's precision, on its device."""
        device = torch.device(self.device)
        return replace(
            packed,
            features=packed.features.to(device, DTYPES[self.precision]),
            phase=packed.phase.to(device),
            scale=packed.scale.to(device),
            to_below=packed.to_below.to(device),
            to_above=packed.to_above.to(device),
            covariates=None if packed.covariates is None else packed.covariates.to(device),
        )

    @contextmanager
    def _own_random_numbers(self, seed: int) -> Iterator[None]:
        """Seed PyTorch's global generator for the networks, and restore its state afterwards."""
        device = torch.device(self.device)
        with torch.random.fork_rng(devices=[] if device.type == "cpu" else [device]):
            torch.manual_seed(seed)
            yield

    def _training(self) -> Training:
        return Training(
            epochs=self.epochs,
            patience=self.patience,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            bags_per_step=self.bags_per_step,
            dtype=DTYPES[self.precision],
        )


def shape_of(packed: PackedBags, n_classes: int) -> Shape:
    """Return the sizes of a network with so many outputs for some bags."""
    return Shape(packed.n_features, packed.n_phases, n_classes, packed.n_scales)


class AttendingEstimator(MILEstimator):
    """A classifier whose network has attention over the instances."""

    def attention(self, patients: Samples) -> list[NDArray[np.float64]]:
        """Return per patient the weight of each instance that the model uses (n,), summing to 1."""
        return self.per_row(patients, "attention")


class EvidentEstimator(MILEstimator):
    """A classifier whose network has per-instance evidence (logits) for each class."""

    def instance_evidence(self, patients: Samples) -> list[NDArray[np.float64]]:
        """Return per patient the evidence of each instance that the model uses for each class (n, classes)."""
        return self.per_row(patients, "evidence")

"""The models that hold no other model, by kind."""

from collections.abc import Mapping

from aggregate.models.attention_mil import AttentionMIL
from aggregate.models.base import BagEstimator
from aggregate.models.baselines import BagSize, CentreSlice, Covariates, Majority, SinglePhase, TumourSize
from aggregate.models.boosting import XGBoost
from aggregate.models.clam import CLAM
from aggregate.models.dsmil import DSMIL
from aggregate.models.forest import RandomForest
from aggregate.models.mean_pooling import MeanPooling
from aggregate.models.mlp import MLP
from aggregate.models.phase_attention import PhaseAttention
from aggregate.models.phase_concat import PhaseConcat
from aggregate.models.phase_pooling import PhasePooling
from aggregate.models.simple_pooling import EmbeddingPooling, InstancePooling
from aggregate.models.smooth_attention import SmoothAttention
from aggregate.models.transmil import TransMIL
from aggregate.models.user_network import ModuleMIL

PLAIN_MODELS: Mapping[str, type[BagEstimator]] = {
    model.kind: model
    for model in (
        AttentionMIL,
        PhaseAttention,
        PhaseConcat,
        SmoothAttention,
        EmbeddingPooling,
        InstancePooling,
        MLP,
        CLAM,
        DSMIL,
        TransMIL,
        ModuleMIL,
        MeanPooling,
        PhasePooling,
        XGBoost,
        RandomForest,
        Majority,
        BagSize,
        TumourSize,
        Covariates,
        CentreSlice,
        SinglePhase,
    )
}
"""Name in a configuration -> class."""

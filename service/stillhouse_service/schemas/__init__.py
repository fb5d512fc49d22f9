"""The HTTP contract: what comes in and what goes out, as docs/api.md draws it.

Depends on: pydantic. One file a noun. The device host's messages are not here:
`stillhouse_benchmark.protocol` defines them.
"""

from stillhouse_service.schemas.asking import (
    Asked,
    AskedTrial,
    AskIn,
    Extended,
    ExtendIn,
    TellFailure,
    TellIn,
)
from stillhouse_service.schemas.baselines import Baseline, BaselineIn, Baselines
from stillhouse_service.schemas.devices import DeviceInfo, Devices
from stillhouse_service.schemas.importance import Importance, MetricImportance
from stillhouse_service.schemas.imports import Imported, ImportedTrial, ImportIn
from stillhouse_service.schemas.log import Event, Events, Measurement
from stillhouse_service.schemas.operations import Operation
from stillhouse_service.schemas.parts import Scalar, Sha256, storable
from stillhouse_service.schemas.problems import ProblemDetail
from stillhouse_service.schemas.server import DatasetInfo, Datasets, ModelInfo, Models
from stillhouse_service.schemas.specs import (
    Budget,
    OptimizerIn,
    PriorityIn,
    StudyChanges,
    StudySpec,
    TimingIn,
)
from stillhouse_service.schemas.studies import Incumbent, Saved, Studies, Study
from stillhouse_service.schemas.tokens import NewToken, Token, TokenIn, Tokens
from stillhouse_service.schemas.trials import Trial, TrialDetail, TrialFailure, TrialIn, Trials
from stillhouse_service.schemas.webhooks import (
    Deliveries,
    Delivery,
    NewWebhook,
    Webhook,
    WebhookIn,
    Webhooks,
)

__all__ = [
    "AskIn",
    "Asked",
    "AskedTrial",
    "Baseline",
    "BaselineIn",
    "Baselines",
    "Budget",
    "DatasetInfo",
    "Datasets",
    "Deliveries",
    "Delivery",
    "DeviceInfo",
    "Devices",
    "Event",
    "Events",
    "ExtendIn",
    "Extended",
    "ImportIn",
    "Importance",
    "Imported",
    "ImportedTrial",
    "Incumbent",
    "Measurement",
    "MetricImportance",
    "ModelInfo",
    "Models",
    "NewToken",
    "NewWebhook",
    "Operation",
    "OptimizerIn",
    "PriorityIn",
    "ProblemDetail",
    "Saved",
    "Scalar",
    "Sha256",
    "Studies",
    "Study",
    "StudyChanges",
    "StudySpec",
    "TellFailure",
    "TellIn",
    "TimingIn",
    "Token",
    "TokenIn",
    "Tokens",
    "Trial",
    "TrialDetail",
    "TrialFailure",
    "TrialIn",
    "Trials",
    "Webhook",
    "WebhookIn",
    "Webhooks",
    "storable",
]

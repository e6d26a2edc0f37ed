//! The things the control database holds, as repositories return them and as the admin API and the command line show
//! them in JSON. Times are RFC 3339 texts in JSON.

mod access;
mod experiment;
mod judging;
mod patch;
mod policy;
mod pool;
mod time_text;

pub use access::{
    AdminKey, ApiKey, ApiKeyChange, CreatedAdminKey, CreatedKey, CreatedSession, NewApiKey, NewUser, Role,
    Session, User, UserChange,
};
pub use experiment::{ArmShare, ExperimentShares};
pub use judging::{
    Annotation, Chunk, ChunkCall, HumanLabel, JudgingStream, LabelledQueue, Lease, NewAnnotation, NewChunk,
    OpenChunk, Said, StreamProgress,
};
pub use patch::Patch;
pub use policy::{AuditEntry, AuditFilter, AuditPage, Document, Prompt, PromptVersion};
pub use pool::{
    Model, ModelChange, NewModel, NewProvider, NewRoute, NewTenant, Provider, ProviderChange, ProviderView,
    Route, RouteChange, SecretState, Tenant, TenantChange,
};
pub use time_text::{parse as parse_time, render as render_time};

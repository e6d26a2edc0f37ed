//! `control-tower provider …`.

use super::Work;
use super::keys::patch;
use super::output::{deleted, list, one, show};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::ProviderId;
use contracts::policy::{Protocol, ProviderSettings, StreamUsage};
use control::records::{NewProvider, ProviderChange, ProviderView, SecretState};
use control::secrets::SecretRef;

/// What to do with providers.
#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// List providers, and whether their credentials resolve here.
    List,
    /// Show one provider.
    Show {
        /// Its id.
        id: ProviderId,
    },
    /// Create a provider.
    Create(Create),
    /// Change a provider; what is not named stays.
    Update(Update),
    /// Delete a provider that serves no model.
    Delete {
        /// Its id.
        id: ProviderId,
    },
}

/// `control-tower provider create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its id, such as openai or vllm-eu-1.
    id: ProviderId,
    /// Base URL up to and including the version, such as `https://api.openai.com/v1`.
    #[arg(long, value_name = "URL")]
    base_url: String,
    /// Where its credential comes from: `env:NAME`, `file:/path` or `literal:SECRET`. None when absent.
    #[arg(long, value_name = "REFERENCE")]
    secret: Option<SecretRef>,
    /// The provider's name in the price book; its id when absent.
    #[arg(long, value_name = "PROVIDER")]
    price_as: Option<String>,
    /// The protocol that it speaks: openai, azure, anthropic, gemini or bedrock.
    #[arg(long, default_value_t)]
    protocol: Protocol,
    #[command(flatten)]
    settings: Settings,
}

/// What a protocol needs to know beside URL and credential.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// azure: `api-version`; anthropic: `anthropic-version`.
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,
    /// bedrock: the region that requests are signed for, such as eu-central-1.
    #[arg(long)]
    region: Option<String>,
    /// bedrock: the id of the access key whose secret is the credential.
    #[arg(long, value_name = "ID")]
    access_key_id: Option<String>,
    /// openai: the organization.
    #[arg(long)]
    organization: Option<String>,
    /// openai: the project.
    #[arg(long)]
    project: Option<String>,
    /// openai: when it states what a streamed chat used, `on_request` or `always`: always for Mistral, which is then not asked.
    #[arg(long, value_name = "WHEN")]
    stream_usage: Option<StreamUsage>,
    /// anthropic: a beta feature to ask for; may be repeated.
    #[arg(long = "beta", value_name = "NAME")]
    betas: Vec<String>,
}

impl From<Settings> for ProviderSettings {
    fn from(args: Settings) -> Self {
        Self {
            api_version: args.api_version,
            region: args.region,
            access_key_id: args.access_key_id,
            organization: args.organization,
            project: args.project,
            stream_usage: args.stream_usage,
            betas: args.betas,
        }
    }
}

/// `control-tower provider update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Its id.
    id: ProviderId,
    /// Base URL.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Where its credential comes from: `env:NAME`, `file:/path` or `literal:SECRET`.
    #[arg(long, value_name = "REFERENCE", conflicts_with = "no_secret")]
    secret: Option<SecretRef>,
    /// Send no credential.
    #[arg(long)]
    no_secret: bool,
    /// The provider's name in the price book.
    #[arg(long, value_name = "PROVIDER")]
    price_as: Option<String>,
    /// The protocol that it speaks. Its settings are then those given here.
    #[arg(long)]
    protocol: Option<Protocol>,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(command: ProviderCommand, work: Work) -> anyhow::Result<()> {
    let providers = work.control.providers();
    match command {
        ProviderCommand::List => {
            let heading = ["id", "protocol", "base url", "secret", "priced as"];
            let found: Vec<ProviderView> = providers.list().await?.into_iter().map(Into::into).collect();
            list(work.json, &found, heading, cells)
        }
        ProviderCommand::Show { id } => {
            let found =
                providers.get(&id).await?.with_context(|| format!("provider {id:?} does not exist"))?;
            show(work.json, &ProviderView::from(found))
        }
        ProviderCommand::Create(args) => {
            let new = NewProvider {
                id: args.id,
                base_url: args.base_url,
                secret: args.secret,
                price_as: args.price_as,
                protocol: args.protocol,
                settings: args.settings.into(),
            };
            let created = ProviderView::from(providers.create(new, work.now).await?);
            one(work.json, &created, |p| {
                format!("created provider {} at {}", p.provider.id, p.provider.base_url)
            })
        }
        ProviderCommand::Update(args) => {
            let settings = ProviderSettings::from(args.settings);
            let given = settings != ProviderSettings::default() || args.protocol.is_some();
            let change = ProviderChange {
                base_url: args.base_url,
                secret: patch(args.no_secret, args.secret),
                price_as: patch(false, args.price_as),
                protocol: args.protocol,
                settings: patch(false, given.then_some(settings)),
            };
            let changed = ProviderView::from(providers.update(&args.id, change).await?);
            one(work.json, &changed, |p| format!("changed provider {}", p.provider.id))
        }
        ProviderCommand::Delete { id } => {
            providers.delete(&id).await?;
            deleted(work.json, "provider", id.as_str())
        }
    }
}

fn cells(view: &ProviderView) -> [String; 5] {
    let provider = &view.provider;
    let secret = match (&provider.secret, &view.secret_state) {
        (Some(reference), SecretState::Unresolved(reason)) => format!("{reference} ({reason})"),
        (Some(reference), _) => reference.to_string(),
        (None, _) => String::from("none"),
    };
    [
        provider.id.to_string(),
        provider.protocol.clone(),
        provider.base_url.clone(),
        secret,
        provider.price_as.clone().unwrap_or_else(|| provider.id.to_string()),
    ]
}

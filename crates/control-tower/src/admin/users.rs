//! `control-tower user …` and `control-tower admin-key …`.

use super::keys::patch;
use super::output::{deleted, list, one};
use super::{Work, when};
use anyhow::Context;
use clap::{Args, Subcommand};
use contracts::TenantId;
use control::records::{NewUser, Role, User, UserChange};
use control::secrets;
use serde_json::json;

/// What to do with users of the console.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// List users.
    List,
    /// Create a user. Without --password-stdin a password is made and shown this once.
    Create(Create),
    /// Change a user; what is not named stays. A new password ends the user's sessions.
    Update(Update),
    /// Delete a user and end the user's sessions.
    Delete {
        /// Sign-in name.
        username: String,
    },
}

/// `control-tower user create`.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Sign-in name: a short name or an e-mail address.
    username: String,
    /// admin or viewer.
    #[arg(long, default_value = "viewer")]
    role: Role,
    /// A tenant that the user sees; may be repeated. All when absent.
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<TenantId>,
    /// Read the password from standard input (one line).
    #[arg(long)]
    password_stdin: bool,
}

/// `control-tower user update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// Sign-in name.
    username: String,
    /// admin or viewer.
    #[arg(long)]
    role: Option<Role>,
    /// A tenant that the user sees; may be repeated, replaces the list.
    #[arg(long = "tenant", value_name = "TENANT", conflicts_with = "all_tenants")]
    tenants: Vec<TenantId>,
    /// Let the user see all tenants.
    #[arg(long)]
    all_tenants: bool,
    /// Read a new password from standard input (one line).
    #[arg(long)]
    password_stdin: bool,
}

pub(super) async fn run(command: UserCommand, work: Work) -> anyhow::Result<()> {
    let users = work.control.users();
    match command {
        UserCommand::List => {
            let heading = ["username", "role", "tenants", "id", "created"];
            list(work.json, &users.list().await?, heading, cells)
        }
        UserCommand::Create(args) => create(args, &work).await,
        UserCommand::Update(args) => {
            let user = find(&work, &args.username).await?;
            let change = UserChange {
                password: if args.password_stdin { Some(read_password()?) } else { None },
                role: args.role,
                tenants: patch(args.all_tenants, (!args.tenants.is_empty()).then_some(args.tenants)),
            };
            let user = users.update(&user.id, change).await?;
            one(work.json, &user, |user| format!("changed user {}", user.username))
        }
        UserCommand::Delete { username } => {
            let user = find(&work, &username).await?;
            users.delete(&user.id).await?;
            deleted(work.json, "user", &user.username)
        }
    }
}

async fn create(args: Create, work: &Work) -> anyhow::Result<()> {
    let (password, made) =
        if args.password_stdin { (read_password()?, false) } else { (secrets::random_hex::<12>()?, true) };
    let new = NewUser {
        username: args.username,
        password: password.clone(),
        role: args.role,
        tenants: (!args.tenants.is_empty()).then_some(args.tenants),
    };
    let user = work.control.users().create(new, work.now).await?;
    if !made {
        return one(work.json, &user, |user| format!("created user {}", user.username));
    }
    let mut answer = serde_json::to_value(&user)?;
    answer["password"] = json!(password);
    one(work.json, &answer, |_| {
        format!(
            "created user {}\n\n    {password}\n\nThis is the password. It is shown this once: keep it now.",
            user.username
        )
    })
}

async fn find(work: &Work, username: &str) -> anyhow::Result<User> {
    let user = work.control.users().find_by_username(username).await?;
    user.with_context(|| format!("user {username:?} does not exist"))
}

/// A line of standard input, without its end.
fn read_password() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).context("cannot read the password from standard input")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn cells(user: &User) -> [String; 5] {
    let tenants: Vec<&str> = user.tenants.iter().flatten().map(TenantId::as_str).collect();
    [
        user.username.clone(),
        user.role.as_str().to_owned(),
        if user.tenants.is_none() { String::from("all") } else { tenants.join(",") },
        user.id.clone(),
        when::shown(Some(user.created_at)),
    ]
}

/// What to do with keys of the admin API.
#[derive(Debug, Subcommand)]
pub(crate) enum AdminKeyCommand {
    /// List admin keys.
    List,
    /// Create an admin key. Its secret is shown this once.
    Create {
        /// Name for people.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Delete an admin key.
    Delete {
        /// Its id, adm_….
        id: String,
    },
}

pub(super) async fn run_admin_key(command: AdminKeyCommand, work: Work) -> anyhow::Result<()> {
    let keys = work.control.admin_keys();
    match command {
        AdminKeyCommand::List => {
            list(work.json, &keys.list().await?, ["id", "name", "prefix", "created"], |key| {
                let created = when::shown(Some(key.created_at));
                [key.id.clone(), key.name.clone(), format!("{}…", key.prefix), created]
            })
        }
        AdminKeyCommand::Create { name } => {
            let created = keys.create(&name, work.now).await?;
            let mut answer = serde_json::to_value(&created.key)?;
            answer["secret"] = json!(created.secret);
            one(work.json, &answer, |_| {
                format!(
                    "created admin key {}\n\n    {}\n\nThis is its secret. It is shown this once: keep it now.",
                    created.key.id, created.secret
                )
            })
        }
        AdminKeyCommand::Delete { id } => {
            keys.delete(&id).await?;
            deleted(work.json, "admin key", &id)
        }
    }
}

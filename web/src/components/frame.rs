//! The frame around every page but the sign-in: where one is, where one can go, who one is.

use super::icon::{self, Icon};
use super::loading::loaded;
use super::theme::ThemeToggle;
use crate::api::types::Me;
use crate::api::{self, Problem};
use leptos::prelude::*;
use leptos_router::components::Outlet;
use leptos_router::hooks::use_location;

/// Who is signed in; pages take it from the context.
#[derive(Clone, Copy)]
pub(crate) struct Viewer(pub(crate) Resource<Result<Me, Problem>>);

/// The viewer's resource, which [`Frame`] provides.
pub(crate) fn use_viewer() -> Resource<Result<Me, Problem>> {
    use_context::<Viewer>().map_or_else(|| Resource::new(|| (), |()| api::me()), |viewer| viewer.0)
}

/// Navigation, the page, and nothing else.
#[component]
pub(crate) fn Frame() -> impl IntoView {
    let me = Resource::new(|| (), |()| api::me());
    provide_context(Viewer(me));
    view! {
        <div class="frame">
            <a class="skip" href="#main">"Skip to content"</a>
            <header class="rail">
                <a class="brand" href="/" aria-label="Control Tower, overview">
                    <Mark/>
                    <span>"Control Tower"</span>
                </a>
                <nav class="tabs" aria-label="Pages">
                    <Tab href="/" label="Overview" path=icon::OVERVIEW/>
                    <Tab href="/calls" label="Calls" path=icon::CALLS/>
                    <Tab href="/models" label="Models" path=icon::MODELS/>
                    <Tab href="/keys" label="Keys" path=icon::KEYS/>
                </nav>
                <div class="account">
                    <div class="account-name">
                        {loaded(me, |me| {
                            let role = if me.admin { "Administrator" } else { "Viewer" };
                            view! {
                                <b class="clip">{me.name}</b>
                                <small>{role}</small>
                            }
                                .into_any()
                        })}
                    </div>
                    <ThemeToggle/>
                    <form method="post" action="/sign-out">
                        <button class="button icon-only" title="Sign out" aria-label="Sign out">
                            <Icon path=icon::SIGN_OUT/>
                        </button>
                    </form>
                </div>
            </header>
            <main id="main" tabindex="-1">
                <Outlet/>
            </main>
        </div>
    }
    .into_any()
}

#[component]
fn Tab(href: &'static str, label: &'static str, path: &'static str) -> impl IntoView {
    let location = use_location();
    let current = move || {
        let here = location.pathname.get();
        let inside =
            if href == "/" { here == "/" } else { here == href || here.starts_with(&format!("{href}/")) };
        inside.then_some("page")
    };
    view! {
        <a href=href aria-current=current>
            <Icon path/>
            <span>{label}</span>
        </a>
    }
    .into_any()
}

/// The tower and its beam.
#[component]
pub(crate) fn Mark() -> impl IntoView {
    view! {
        <svg class="mark" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
            <path class="mark-beam" d="M12 8 22.5 3.5v9z"></path>
            <path class="mark-tower" d="M7 5h7.5l-1.6 6H8.6zM9.6 12.5h2.3l1.6 8.5H8z"></path>
        </svg>
    }
    .into_any()
}

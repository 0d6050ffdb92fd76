<#
.SYNOPSIS
Sends one event from PowerShell 5.1 or newer (Windows tills). Written from the documentation, not run by the tests.

.EXAMPLE
. .\Send-LogEvent.ps1
Send-LogEvent -Level info -Action sale.completed -Message "Sale completed" -Url http://till-server:8000

Tries again while the daemon is down, under one Idempotency-Key, so that nothing is stored twice. Throws when the
event is refused, or could not be stored.
#>
function Send-LogEvent {
    param(
        [ValidateSet('debug', 'info', 'warn', 'error', 'critical')] [string] $Level = 'info',
        [Parameter(Mandatory)] [string] $Action,
        [Parameter(Mandatory)] [string] $Message,
        [string] $Service = $env:COMPUTERNAME,
        [string] $EnvName = 'shop',
        [string] $Url = 'http://127.0.0.1:8000',
        [string] $ApiKey,
        [int] $Tries = 6
    )
    $id = [guid]::NewGuid().ToString()
    $event = @{
        request_id = $id; service = $Service; env = $EnvName; action = $Action; level = $Level; message = $Message
        timestamp  = [DateTime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ss.fffZ')
    }
    # As bytes: PowerShell 5.1 would send text in the machine's own encoding.
    $body = [Text.Encoding]::UTF8.GetBytes(($event | ConvertTo-Json -Compress))
    $headers = @{ 'Idempotency-Key' = $id }
    if ($ApiKey) { $headers['X-API-Key'] = $ApiKey }
    for ($try = 1; ; $try++) {
        try {
            return Invoke-RestMethod -Method Post -Uri "$Url/api/logs/ingest" -ContentType 'application/json' `
                -Headers $headers -Body $body -TimeoutSec 45
        } catch {
            $status = 0
            if ($_.Exception.Response) { $status = [int] $_.Exception.Response.StatusCode }
            $again = $status -eq 0 -or $status -in 408, 409, 429 -or $status -ge 500
            if (-not $again -or $try -ge $Tries) { throw }
            Start-Sleep -Milliseconds ([Math]::Min(500 * [Math]::Pow(2, $try - 1), 10000) + (Get-Random -Maximum 250))
        }
    }
}
